#!/usr/bin/env node
// Times a training step of the `tiny` decoder (bench/decoder.mjs) on 8 sequences of 256 tokens: forward, backward, gradient norm, AdamW.
//
//   node bench/training-step.mjs [--backend native|wasm|cpu] [--precision float32|bfloat16] [--threads 0] [--steps 25]
//                                [--memory-steps 1000] [--kernels] [--output FILE]
//
// Reports tokens/s; the rate beside the best float32 matrix product that the same process does between the steps; the share of a
// step that is not spent in kernels; and memory over many steps. --kernels prints the time in each kernel. Writes
// bench/results/training-step.json (or FILE). About two minutes on four cores; run after a build.
//
// On one thread the clock counts processor time, which other programs disturb less than they do the time of day.
import { dirname, join } from 'node:path';
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
    threads: { type: 'string', default: '0' },
    steps: { type: 'string', default: '25' },
    'memory-steps': { type: 'string', default: '1000' },
    kernels: { type: 'boolean', default: false },
    output: { type: 'string', default: join(folder, 'bench', 'results', 'training-step.json') },
  },
});

setThreadCount(Number(options.threads));
const { name: backend, reason, warnings } = await initializeBackend({ preferred: options.backend });
const threads = setThreadCount(Number(options.threads));
const precision = setMatmulPrecision(options.precision);
console.log(reason);
for (const warning of warnings) console.log(warning);

/** Milliseconds. */
const clock =
  threads === 1
    ? () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e3;
      }
    : () => Number(process.hrtime.bigint()) / 1e6;

const [sequences, length] = [8, 256];
const result = {
  benchmark: 'training-step',
  command: `node bench/training-step.mjs ${process.argv.slice(2).join(' ')}`.trim(),
  ...describeEnvironment({ folder, packages: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm'] }),
  backend: { ...(await describeBackends()).find(({ name }) => name === backend), precision },
  clock: threads === 1 ? 'processor time' : 'time of day',
  preset: { ...presets.tiny, sequences, length },
};

const decoder = createDecoder(presets.tiny);
const step = createTrainingStep(decoder);
const batch = randomBatch(presets.tiny, sequences, length);
const flops = trainingFlops(decoder, presets.tiny, sequences, length);

// Products and steps take turns: on a shared machine speed drifts, and the comparison must not.
const products = [];
const times = [];
const largest = createProduct();
for (let i = 0; i < 2; i++) step.run(batch);
for (let i = 0; i < Number(options.steps); i++) {
  products.push(...largest.time());
  const before = clock();
  step.run(batch);
  times.push(clock() - before);
}
largest.dispose();
const stepTime = summarize(times);
const productTime = summarize(products);
const rate = (milliseconds) => flops / milliseconds / 1e6;
const peak = (milliseconds) => largest.flops / milliseconds / 1e6;
result.step = {
  milliseconds: stepTime,
  tokensPerSecond: (sequences * length * 1000) / stepTime.median,
  gigaflops: rate(stepTime.median),
  product1024Milliseconds: productTime,
  peakGigaflops: peak(productTime.minimum),
  /** Best step against best product, and medians against medians: equal on a quiet machine. */
  fractionOfPeak: rate(stepTime.minimum) / peak(productTime.minimum),
  fractionOfMedians: rate(stepTime.median) / peak(productTime.median),
};

result.dispatch = measureDispatch();
result.memory = measureMemory(Number(options['memory-steps']));

step.dispose();
decoder.dispose();
writeResult(options.output, result);
printTable([
  ['training step of tiny', 'value'],
  ['median, ms', stepTime.median],
  ['spread (p90 − p10)/median', stepTime.spread],
  ['tokens/s', result.step.tokensPerSecond],
  ['GFLOP/s', result.step.gigaflops],
  ['matrix-product peak, GFLOP/s', result.step.peakGigaflops],
  ['fraction of peak, best against best', result.step.fractionOfPeak],
  ['fraction of peak, medians', result.step.fractionOfMedians],
  ['outside kernels, share of a step', result.dispatch.shareOutsideKernels],
  ['empty graph, share of a step', result.dispatch.shareOfEmptyGraph],
  [`tensors after ${result.memory.steps} steps, change`, result.memory.tensorsChange],
  ['resident memory, change in MiB', result.memory.residentChangeMiB],
]);
if (options.kernels) {
  console.log();
  printTable([
    ['kernel', 'calls a step', 'ms a step'],
    ...result.dispatch.kernels.map(({ name, calls, milliseconds }) => [name, calls, milliseconds]),
  ]);
}
console.log(`written to ${options.output}`);

/** 1,024³ in float32, whatever the precision of the steps: the yardstick. */
function createProduct() {
  const [x, weight] = [tf.randomNormal([1024, 1024]), tf.randomNormal([1024, 1024])];
  const time = () => {
    setMatmulPrecision('float32');
    const found = Array.from({ length: 4 }, () => {
      const before = clock();
      linear(x, weight).dispose();
      return clock() - before;
    });
    setMatmulPrecision(options.precision);
    return found;
  };
  return { flops: 2 * 1024 ** 3, time, dispose: () => tf.dispose([x, weight]) };
}

/**
 * What a step costs beside its kernels, two ways: the step's time minus the time inside kernel functions; and the time of the
 * same graph with hardly any arithmetic (which includes each kernel's own call and allocation).
 */
function measureDispatch() {
  const registered = tf.getKernelsForBackend(backend);
  const originals = registered.map(({ kernelFunc }) => kernelFunc);
  const totals = new Map();
  let inside = 0;
  let depth = 0;
  registered.forEach((kernel, i) => {
    kernel.kernelFunc = (parameters) => {
      depth++;
      const before = clock();
      try {
        return originals[i](parameters);
      } finally {
        const time = clock() - before;
        depth--;
        if (depth === 0) inside += time;
        const total = totals.get(kernel.kernelName) ?? { calls: 0, time: 0 };
        totals.set(kernel.kernelName, { calls: total.calls + 1, time: total.time + time });
      }
    };
  });
  const counted = 10;
  const shares = Array.from({ length: counted }, () => {
    inside = 0;
    const before = clock();
    step.run(batch);
    const total = clock() - before;
    return (total - inside) / total;
  });
  registered.forEach((kernel, i) => (kernel.kernelFunc = originals[i]));
  const kernels = [...totals]
    .map(([name, { calls, time }]) => ({ name, calls: calls / counted, milliseconds: time / counted }))
    .sort((a, b) => b.milliseconds - a.milliseconds);

  const emptyDecoder = createDecoder(presets.empty);
  const emptyStep = createTrainingStep(emptyDecoder);
  const emptyBatch = randomBatch(presets.empty, 1, 2);
  const empty = measure(() => emptyStep.run(emptyBatch), { warmUp: 100, samples: 200 });
  emptyStep.dispose();
  emptyDecoder.dispose();
  tf.dispose(Object.values(emptyBatch));
  return {
    shareOutsideKernels: summarize(shares).median,
    emptyGraphMilliseconds: empty,
    shareOfEmptyGraph: empty.median / stepTime.median,
    kernels,
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
