/**
 * Times each operation at its declared realistic size on every backend here and writes bench/results/operations.json:
 *
 *   pnpm bench:operations
 *
 * On one thread, in processor time, so that backends compare and a busy machine disturbs little. Left out: operations in place
 * (their cases copy what they change), `cpu` (under 1 GFLOP/s: the larger operations would take minutes) and `cuda`, which bench/cuda times. About a
 * minute.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { memory, onesLike, type Tensor, tidy, variable } from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, test } from 'vitest';
import {
  describeEnvironment,
  measure,
  printTable,
  processorTime,
  type Sample,
  writeResult,
} from '../../../tooling/bench/benchmark.mjs';
import { describeBackends, initializeBackend } from '../src/backends/initialize-backend';
import { type BackendName, type MatmulPrecision, setMatmulPrecision, setThreadCount } from '../src/index';
import { toTensor } from '../src/conformance/host-tensor';
import { operations } from '../src/conformance/operations';
import { backpropagate, recordTape } from '../src/tape/walk';

interface Timing {
  operation: string;
  backend: string;
  precision: MatmulPrecision;
  case: string;
  forward: Sample;
  /** Forward and backward together, where the operation has gradients. */
  withGradients?: Sample;
}

const folder = join(dirname(fileURLToPath(import.meta.url)), '..');
const timings: Timing[] = [];
const timing = { clock: processorTime, maximumMilliseconds: 5000, warmUp: 1 };
const backends = (await describeBackends()).filter(
  ({ name, available }) => available && name !== 'cpu' && name !== 'cuda',
);
const settings = backends.flatMap(({ name }): { name: BackendName; precision: MatmulPrecision }[] => [
  { name, precision: 'float32' },
  ...(name === 'native' ? [{ name, precision: 'bfloat16' as const }] : []),
]);

describe.each(settings)('$name, $precision', ({ name, precision }) => {
  const timed = operations.filter(
    (one) => one.changesInPlace !== true && (precision === 'float32' || one.usesMatmulPrecision),
  );
  test.each(timed)('$operation', async (declaration) => {
    await initializeBackend({ preferred: name });
    setThreadCount(1);
    expect(setMatmulPrecision(precision)).toBe(precision);
    const { name: caseName, inputs, attributes } = declaration.benchmark();
    const tensors: Record<string, Tensor> = {};
    for (const input in inputs) {
      const source = inputs[input];
      tensors[input] = declaration.differentiable.includes(input)
        ? tidy(() => variable(toTensor(source)))
        : toTensor(source);
    }
    const before = memory().numTensors;
    const run = (): Tensor[] => declaration.run(tensors, attributes);
    const forward = measure(() => tidy(() => void run()), timing);
    const variables = declaration.differentiable.map((input) => tensors[input]);
    const withGradients = variables.length === 0 ? undefined : measureGradients(run, variables);
    expect(memory().numTensors).toBe(before);
    for (const one of Object.values(tensors)) one.dispose();
    timings.push({
      operation: declaration.operation,
      backend: name,
      precision,
      case: caseName,
      forward,
      withGradients,
    });
  });
});

/** Forward and backward, from gradients of the outputs that are there already. */
function measureGradients(run: () => Tensor[], variables: Tensor[]): Sample {
  const outputGradients = tidy(() => run().map((output) => onesLike(output)));
  const sample = measure(() => {
    tidy(() => {
      const { result, tape } = recordTape(run);
      backpropagate(tape, result, outputGradients, variables);
    });
  }, timing);
  for (const one of outputGradients) one.dispose();
  return sample;
}

afterAll(async () => {
  const file = join(folder, 'bench', 'results', 'operations.json');
  writeResult(file, {
    benchmark: 'operations',
    command: 'pnpm bench:operations',
    ...describeEnvironment({ folder, packages: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm'] }),
    backends: await describeBackends(),
    unit: 'milliseconds of processor time, one thread',
    timings,
  });
  printTable([
    ['operation', 'backend', 'precision', 'forward, ms', 'with gradients, ms', 'spread'],
    ...timings.map(({ operation, backend, precision, forward, withGradients }) => [
      operation,
      backend,
      precision,
      forward.median,
      withGradients?.median ?? '',
      forward.spread,
    ]),
  ]);
});
