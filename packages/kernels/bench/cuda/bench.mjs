#!/usr/bin/env node
// Times training steps and decoding on one GPU, ours and, where its scripts are given, PyTorch's; checks the operations first.
//
//   node bench.mjs [--output FILE] [--seconds 1500] [--only NAME,…] [--steps 10] [--conformance FILE] [--torch FOLDER]
//
// Run it through run.sh, which builds first. The most important figures come first, and the result file is written anew after each:
// what does not fit into --seconds is listed as left out. --torch: a folder with torch_llama.py and torch_decode.py, which take --preset,
// --seq, --batch, --steps, --ckpt, --chunk, and print a line of JSON.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { describeEnvironment, summarize, writeResult } from '../../../../tooling/bench/benchmark.mjs';
import {
  describeBackends,
  deviceMemory,
  initializeBackend,
  resetDeviceMemoryPeaks,
  setMatmulPrecision,
  storeInBfloat16,
  synchronizeDevice,
} from '../../dist/index.js';
import { createDecoder, createTrainingStep, presets, randomBatch, trainingFlops } from '../decoder.mjs';
import { createDecoding } from './decoding.mjs';

const folder = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
  options: {
    output: { type: 'string', default: 'cuda.json' },
    seconds: { type: 'string', default: '1500' },
    steps: { type: 'string', default: '10' },
    only: { type: 'string' },
    conformance: { type: 'string', default: join(folder, 'cuda-conformance.js') },
    torch: { type: 'string' },
    // For trying the script itself out where there is no GPU: tiny shapes on whatever backend there is.
    rehearse: { type: 'boolean', default: false },
  },
});

/** Dense bfloat16 operations and bytes a second of the GPUs that we know; for others no fraction is given. */
const limits = {
  'NVIDIA H100 80GB HBM3': { flops: 989e12, bytes: 3.35e12 },
  'NVIDIA H200': { flops: 989e12, bytes: 4.8e12 },
  'NVIDIA A100-SXM4-80GB': { flops: 312e12, bytes: 2.04e12 },
};
const training = [
  { name: 'train 124m, 4,096 × 16', preset: '124m', length: 4096, sequences: 16 },
  { name: 'train 1b, 4,096 × 8', preset: '1b', length: 4096, sequences: 8 },
  { name: 'train 1b, 32,768 × 1', preset: '1b', length: 32768, sequences: 1, recompute: true, chunk: 8192 },
  { name: 'train 4b, 4,096 × 2', preset: '4b', length: 4096, sequences: 2, recompute: true, chunk: 4096 },
  { name: 'train 1b, 131,072 × 1', preset: '1b', length: 131072, sequences: 1, recompute: true, chunk: 8192 },
  { name: 'train 4b, 32,768 × 1', preset: '4b', length: 32768, sequences: 1, recompute: true, bfloat16Moments: true },
];
const decoding = [
  { name: 'decode 1b, batch 1', preset: '1b', batch: 1 },
  { name: 'decode 1b, batch 32', preset: '1b', batch: 32 },
];
if (options.rehearse) {
  for (const one of training) Object.assign(one, { preset: 'empty', length: 32, sequences: 2 });
  for (const one of decoding)
    Object.assign(one, { preset: 'empty', batch: Math.min(one.batch, 2), prompt: 20, tokens: 4 });
}

const started = performance.now();
const remaining = () => Number(options.seconds) - (performance.now() - started) / 1e3;
const wanted = (name) => options.only === undefined || options.only.split(',').some((part) => name.includes(part));

const { name: backend, warnings } = await initializeBackend({ preferred: 'cuda' });
const description = (await describeBackends()).find(({ name }) => name === 'cuda');
if (backend !== 'cuda' && !options.rehearse) {
  console.error(warnings.join('\n'));
  process.exit(1);
}
setMatmulPrecision('bfloat16');
const device = description.detail.split(',')[0];
const limit = limits[device];
const result = {
  benchmark: 'cuda',
  command: `bench.mjs ${process.argv.slice(2).join(' ')}`.trim(),
  ...describeEnvironment({ folder }),
  backend: { name: backend, detail: description.detail },
  limit,
  conformance: undefined,
  cases: [],
  torch: [],
  leftOut: [],
};
const save = () => writeResult(options.output, result);
const report = (entry) => {
  console.log(JSON.stringify(entry));
  save();
};

checkConformance();
for (const one of training) attempt(one, timeTraining);
for (const one of decoding) attempt(one, timeDecoding);
if (options.torch !== undefined) {
  for (const one of training)
    attempt({ ...one, name: `torch: ${one.name}` }, () => timeTorch('torch_llama.py', torchTraining(one)));
  for (const one of decoding)
    attempt({ ...one, name: `torch: ${one.name}` }, () => timeTorch('torch_decode.py', torchDecoding(one)));
}
save();

/** Runs a case where time is left for it; a failure is a result, not the end. */
function attempt(one, run) {
  if (!wanted(one.name)) return;
  if (remaining() < 30 && !options.rehearse) {
    result.leftOut.push(one.name);
    return;
  }
  const before = performance.now();
  try {
    run(one);
  } catch (error) {
    const entry = { name: one.name, failed: String(error.message ?? error).slice(0, 2000) };
    result.cases.push(entry);
    report(entry);
  }
  console.log(`# ${one.name}: ${((performance.now() - before) / 1e3).toFixed(1)} s, ${remaining().toFixed(0)} s left`);
}

/** In a process of its own, so that a crash there costs nothing here. */
function checkConformance() {
  if (!wanted('conformance') || !existsSync(options.conformance)) return;
  const backendName = options.rehearse ? 'cpu' : 'cuda';
  const run = spawnSync(process.execPath, [options.conformance, backendName], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    timeout: 300_000,
  });
  const lines = run.stdout
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  const summary = lines.find(({ summary }) => summary);
  result.conformance = summary ?? { crashed: run.signal ?? run.status, stderr: run.stderr.slice(-2000) };
  result.conformanceFailures = lines.filter((line) => !line.summary);
  report({ name: 'conformance', ...result.conformance, failures: result.conformanceFailures.length });
}

/** Weights from a block of normal numbers that repeats: made on the device, since billions of them take minutes on the host. */
function repeatedNormal(shape, deviation) {
  const size = shape.reduce((product, axis) => product * axis, 1);
  // A prime: no row of a matrix equals the next.
  const block = tf.randomNormal([Math.min(size, 65_521)], 0, deviation, 'float32', 1);
  const times = Math.ceil(size / block.size);
  return tf.reshape(tf.slice(tf.tile(block, [times]), [0], [size]), shape);
}

function timeTraining({ name, preset: presetName, length, sequences, recompute, bfloat16Moments }) {
  const preset = presets[presetName];
  const decoder = createDecoder(preset, 1, { recomputeBlocks: recompute ?? false, normal: repeatedNormal });
  const step = createTrainingStep(decoder, (shape) => tf.fill(shape, 0));
  if (bfloat16Moments) for (const moment of step.moments) storeInBfloat16(moment);
  const batch = randomBatch(preset, sequences, length);
  try {
    const losses = [];
    for (let i = 0; i < 3; i++) losses.push(step.run(batch));
    synchronizeDevice();
    resetDeviceMemoryPeaks();
    const times = [];
    for (let i = 0; i < Number(options.steps); i++) {
      const before = performance.now();
      losses.push(step.run(batch));
      synchronizeDevice();
      times.push(performance.now() - before);
    }
    const milliseconds = summarize(times);
    const flops = trainingFlops(decoder, preset, sequences, length);
    const memory = deviceMemory();
    const entry = {
      name,
      parameters: decoder.parameters.reduce((sum, { size }) => sum + size, 0),
      milliseconds,
      tokensPerSecond: (sequences * length * 1000) / milliseconds.median,
      ...(limit ? { fractionOfLimit: (flops * 1000) / milliseconds.median / limit.flops } : {}),
      ...(memory ? { peakGiB: memory.peakReservedBytes / 2 ** 30, peakLiveGiB: memory.peakLiveBytes / 2 ** 30 } : {}),
      firstLoss: losses[0],
      lastLoss: losses.at(-1),
    };
    result.cases.push(entry);
    report(entry);
  } finally {
    step.dispose();
    decoder.dispose();
    tf.dispose(batch);
  }
}

function timeDecoding({ name, preset: presetName, batch, prompt = 512, tokens = 128 }) {
  const decoder = createDecoder(presets[presetName], 1, { normal: repeatedNormal });
  const decodingRun = createDecoding(decoder, presets[presetName], { batch, prompt, tokens: 4 * tokens + 16 });
  try {
    decodingRun.advance(8);
    synchronizeDevice();
    const times = [];
    for (let i = 0; i < 3; i++) {
      const before = performance.now();
      decodingRun.advance(tokens);
      synchronizeDevice();
      times.push((performance.now() - before) / tokens);
    }
    const milliseconds = summarize(times);
    // Every step reads all weights but the input table once.
    const bytes = 2 * decoder.productParameters;
    const entry = {
      name,
      millisecondsPerToken: milliseconds,
      tokensPerSecond: (batch * 1000) / milliseconds.median,
      ...(limit ? { fractionOfLimit: (bytes * 1000) / milliseconds.median / limit.bytes } : {}),
    };
    result.cases.push(entry);
    report(entry);
  } finally {
    decodingRun.dispose();
    decoder.dispose();
  }
}

function torchTraining({ preset, length, sequences, recompute, chunk }) {
  const flags = ['--preset', preset, '--seq', String(length), '--batch', String(sequences), '--steps', options.steps];
  return [...flags, ...(recompute ? ['--ckpt'] : []), ...(chunk ? ['--chunk', String(chunk)] : [])];
}

function torchDecoding({ preset, batch }) {
  return ['--preset', preset, '--batch', String(batch)];
}

function timeTorch(script, flags) {
  const run = spawnSync('python3', [join(options.torch, script), ...flags], {
    encoding: 'utf8',
    timeout: Math.max(1, remaining()) * 1e3,
  });
  const line = (run.stdout ?? '').split('\n').find((text) => text.startsWith('{'));
  const entry = line ? JSON.parse(line) : { failed: (run.stderr ?? String(run.error)).slice(-1000), flags };
  result.torch.push(entry);
  report(entry);
}
