/**
 * Times each operation at its declared realistic size on every backend here and writes bench/results/operations.json:
 *
 *   pnpm bench:operations
 *
 * `cpu` is left out: it does under 1 GFLOP/s, and the larger operations would take minutes. About a minute on four cores.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { add, memory, type Scalar, sum, type Tensor, tidy, variable } from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, test } from 'vitest';
import {
  describeEnvironment,
  measure,
  printTable,
  type Sample,
  writeResult,
} from '../../../tooling/bench/benchmark.mjs';
import { describeBackends, initializeBackend } from '../src/backends/initialize-backend';
import { type BackendName, type MatmulPrecision, setMatmulPrecision, setThreadCount } from '../src/index';
import { toTensor } from '../src/conformance/host-tensor';
import { operations } from '../src/conformance/operations';
import { valueAndGradients } from '../src/tape/value-and-gradients';

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
const backends = (await describeBackends()).filter(({ name, available }) => available && name !== 'cpu');
const settings = backends.flatMap(({ name }): { name: BackendName; precision: MatmulPrecision }[] => [
  { name, precision: 'float32' },
  ...(name === 'native' ? [{ name, precision: 'bfloat16' as const }] : []),
]);

describe.each(settings)('$name, $precision', ({ name, precision }) => {
  const timed = operations.filter((one) => precision === 'float32' || one.usesMatmulPrecision);
  test.each(timed)('$operation', async (declaration) => {
    await initializeBackend({ preferred: name });
    setThreadCount(0);
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
    const forward = measure(() => {
      for (const output of tidy(() => declaration.run(tensors, attributes))) output.dispose();
    });
    const variables = declaration.differentiable.map((input) => tensors[input] as ReturnType<typeof variable>);
    const loss = (): Scalar =>
      declaration
        .run(tensors, attributes)
        .map((output) => sum(output))
        .reduce((a, b) => add(a, b)) as Scalar;
    const withGradients =
      variables.length === 0 ? undefined : measure(() => tidy(() => void valueAndGradients(loss, variables)));
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

afterAll(async () => {
  const file = join(folder, 'bench', 'results', 'operations.json');
  writeResult(file, {
    benchmark: 'operations',
    command: 'pnpm bench:operations',
    ...describeEnvironment({ folder, packages: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm'] }),
    backends: await describeBackends(),
    unit: 'milliseconds',
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
