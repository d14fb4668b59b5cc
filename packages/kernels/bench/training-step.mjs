#!/usr/bin/env node
// Times a training step of the `tiny` decoder and writes bench/results/training-step.json:
//
//   node bench/training-step.mjs [--backend native|wasm|cpu] [--precision float32|bfloat16] [--threads N] [--output FILE]
//
// Reports tokens/s; the fraction of the matrix-product peak measured in the same run; the share of a step that is not spent in
// kernels; and memory over 1,000 steps. About two minutes on four cores. tiny: width 256, 6 layers, 8 query and 4 key/value heads,
// feed-forward 704, vocabulary 8192, untied head; 8 sequences of 256 tokens.
import { dirname, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { describeEnvironment, measure, printTable, summarize, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { describeBackends, initializeBackend, linear, setMatmulPrecision, setThreadCount } from '../dist/index.js';
import { createDecoder, createTrainingStep, presets, randomBatch, trainingFlops } from './decoder.mjs';

const folder = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: options } = parseArgs({
  options: {
    backend: { type: 'string' },
    precision: { type: 'string', default: 'float32' },
    threads: { type: 'string' },
    steps: { type: 'string', default: '1000' },
    output: { type: 'string', default: join(folder, 'bench', 'results', 'training-step.json') },
  },
});

const { name: backend, reason, warnings } = await initializeBackend({ preferred: options.backend });
if (options.threads !== undefined) setThreadCount(Number(options.threads));
const precision = setMatmulPrecision(options.precision);
console.log(reason);
for (const warning of warnings) console.log(warning);

const [sequences, length] = [8, 256];
const result = {
  benchmark: 'training-step',
  command: `node bench/training-step.mjs ${process.argv.slice(2).join(' ')}`.trim(),
  ...describeEnvironment({ folder, packages: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm'] }),
  backend: { ...(await describeBackends()).find(({ name }) => name === backend), precision },
  preset: { ...presets.tiny, sequences, length },
};

const decoder = createDecoder(presets.tiny);
const step = createTrainingStep(decoder);
const batch = randomBatch(presets.tiny, sequences, length);
const flops = trainingFlops(decoder, presets.tiny, sequences, length);

// The peak is timed before, between and after the steps: on a shared machine it drifts, and the comparison must not.
const peaks = [];
const times = [];
for (let i = 0; i < 2; i++) step.run(batch);
for (let round = 0; round < 5; round++) {
  peaks.push(measurePeak());
  for (let i = 0; i < 5; i++) {
    const before = performance.now();
    step.run(batch);
    times.push(performance.now() - before);
  }
}
peaks.push(measurePeak());
const stepTime = summarize(times);
const peak = Math.max(...peaks);
const speed = flops / stepTime.median / 1e6;
result.step = {
  milliseconds: stepTime,
  tokensPerSecond: (sequences * length * 1000) / stepTime.median,
  gigaflops: speed,
  peakGigaflops: peak,
  peakSamples: peaks,
  fractionOfPeak: speed / peak,
};

result.dispatch = measureDispatch();
result.memory = measureMemory(Number(options.steps));

step.dispose();
decoder.dispose();
writeResult(options.output, result);
printTable([
  ['training step of tiny', 'value'],
  ['median, ms', stepTime.median],
  ['spread (p90 − p10)/median', stepTime.spread],
  ['tokens/s', result.step.tokensPerSecond],
  ['GFLOP/s', speed],
  ['matrix-product peak, GFLOP/s', peak],
  ['fraction of peak', result.step.fractionOfPeak],
  ['outside kernels, share of a step', result.dispatch.shareOutsideKernels],
  ['empty graph, share of a step', result.dispatch.shareOfEmptyGraph],
  [`tensors after ${result.memory.steps} steps, change`, result.memory.tensorsChange],
  ['resident memory, change in MiB', result.memory.residentChangeMiB],
]);
console.log(`written to ${options.output}`);

/** GFLOP/s of the fastest matrix product here: 1024³ and tiny's largest. */
function measurePeak() {
  return Math.max(
    ...[
      [1024, 1024, 1024],
      [2048, 256, 1408],
    ].map(([rows, inner, columns]) => {
      const [x, weight] = [tf.randomNormal([rows, inner]), tf.randomNormal([columns, inner])];
      const { minimum } = measure(() => linear(x, weight).dispose(), { samples: 5, milliseconds: 100, warmUp: 1 });
      tf.dispose([x, weight]);
      return (2 * rows * inner * columns) / minimum / 1e6;
    }),
  );
}

/**
 * What a step costs beside its kernels, two ways: the step's time minus the time inside kernel functions; and the time of the
 * same graph with hardly any arithmetic (which includes each kernel's own call and allocation).
 */
function measureDispatch() {
  const kernels = tf.getKernelsForBackend(backend);
  let inside = 0;
  let depth = 0;
  let calls = 0;
  for (const kernel of kernels) {
    const timed = (parameters) => {
      calls++;
      depth++;
      const before = performance.now();
      try {
        return kernel.kernelFunc(parameters);
      } finally {
        depth--;
        if (depth === 0) inside += performance.now() - before;
      }
    };
    tf.unregisterKernel(kernel.kernelName, backend);
    tf.registerKernel({ ...kernel, kernelFunc: timed });
  }
  const shares = [];
  let callsPerStep = 0;
  for (let i = 0; i < 8; i++) {
    inside = 0;
    calls = 0;
    const before = performance.now();
    step.run(batch);
    const total = performance.now() - before;
    if (i > 0) shares.push((total - inside) / total);
    callsPerStep = calls;
  }
  for (const kernel of kernels) {
    tf.unregisterKernel(kernel.kernelName, backend);
    tf.registerKernel(kernel);
  }

  const emptyDecoder = createDecoder(presets.empty);
  const emptyStep = createTrainingStep(emptyDecoder);
  const emptyBatch = randomBatch(presets.empty, 1, 2);
  const empty = measure(() => emptyStep.run(emptyBatch), { warmUp: 50, samples: 100 });
  emptyStep.dispose();
  emptyDecoder.dispose();
  tf.dispose(Object.values(emptyBatch));
  return {
    kernelCallsPerStep: callsPerStep,
    shareOutsideKernels: summarize(shares).median,
    emptyGraphMilliseconds: empty,
    shareOfEmptyGraph: empty.median / stepTime.median,
  };
}

/** Tensors, bytes and resident memory at the start and the end of many steps (of one sequence, to keep it short). */
function measureMemory(steps) {
  const small = randomBatch(presets.tiny, 1, length);
  for (let i = 0; i < 20; i++) step.run(small);
  globalThis.gc?.();
  const before = { ...tf.memory(), resident: process.memoryUsage().rss };
  const residents = [];
  for (let i = 0; i < steps; i++) {
    step.run(small);
    if (i % 50 === 0) residents.push(process.memoryUsage().rss / 2 ** 20);
  }
  globalThis.gc?.();
  const after = { ...tf.memory(), resident: process.memoryUsage().rss };
  tf.dispose(Object.values(small));
  return {
    steps,
    tensorsChange: after.numTensors - before.numTensors,
    bytesChange: after.numBytes - before.numBytes,
    residentMiB: after.resident / 2 ** 20,
    residentChangeMiB: (after.resident - before.resident) / 2 ** 20,
    residentSamplesMiB: residents,
  };
}
