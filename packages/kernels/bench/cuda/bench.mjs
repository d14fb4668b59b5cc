#!/usr/bin/env node
// Times training steps and decoding on one GPU, ours and, where its scripts are given, PyTorch's; checks the operations first.
//
//   node bench.mjs [--output FILE] [--seconds 1500] [--only PART,…] [--steps 10] [--conformance FILE] [--peer] [--graph] [--rehearse]
//
// Run it through run.sh, which builds first. The most important figures come first, and the result file is written anew after each:
// what does not fit into --seconds is marked so. --peer: times PyTorch too (peers/train.py, peers/decode.py, by the python3 of the path).
// --graph: training steps are captured and replayed. --rehearse: tiny shapes, on whatever
// the addon calls a device (run.sh takes the emulated one).
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
    peer: { type: 'boolean', default: false },
    case: { type: 'string' }, // this one, here: what the program calls itself with
    profile: { type: 'boolean', default: false }, // with --case: one step or token in the range of `ncu --profile-from-start off`, not timed
    graph: { type: 'boolean', default: false },
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
  { name: 'train 1b, 32,768 × 1', preset: '1b', length: 32768, sequences: 1, recompute: true, torchChunk: 8192 },
  {
    name: 'train 4b, 4,096 × 2',
    preset: '4b',
    length: 4096,
    sequences: 2,
    recompute: true,
    torchKeeps: 'attention',
    torchChunk: 4096,
  },
  {
    name: 'train 1b, 131,072 × 1',
    preset: '1b',
    length: 131072,
    sequences: 1,
    recompute: true,
    torchKeeps: 'attention',
    torchChunk: 8192,
    torchSteps: 5,
  },
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

if (options.case !== undefined) await runCase(options.case);
else await runAll();

/** One of ours, in this process: a line of JSON. */
async function runCase(name) {
  const { name: backend, warnings } = await initializeBackend({ preferred: 'cuda' });
  if (backend !== 'cuda') throw new Error(warnings.join(' '));
  setMatmulPrecision('bfloat16');
  const one = [...training, ...decoding].find((each) => each.name === name);
  console.log(JSON.stringify(training.includes(one) ? timeTraining(one) : timeDecoding(one)));
}

/** Every case, ours and the peer's in turn, each in a process of its own: the device is empty before it, and a crash costs that case alone. */
async function runAll() {
  const started = performance.now();
  const remaining = () => Math.floor(Number(options.seconds) * 1e3 - (performance.now() - started));
  const cuda = (await describeBackends()).find(({ name }) => name === 'cuda');
  if (!cuda.available) {
    console.error(cuda.detail, cuda.remedy);
    process.exit(1);
  }
  const result = {
    benchmark: 'cuda',
    command: `bench.mjs ${process.argv.slice(2).join(' ')}`.trim(),
    ...describeEnvironment({ folder }),
    device: cuda.detail,
    limit: limitOf(cuda.detail),
    rehearsal: options.rehearse,
    conformance: undefined,
    cases: [],
  };
  const save = () => writeResult(options.output, result);
  const wanted = (name) => options.only === undefined || options.only.split(',').some((part) => name.includes(part));
  /** The lines of JSON that a program prints, or how it failed; a failure is a result, not the end. */
  const run = (command, ...flags) => {
    if (remaining() < 30_000) return { leftOut: 'no time' };
    const { stdout, stderr, status, signal, error } = spawnSync(command, flags, {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      timeout: remaining(),
    });
    const lines = (stdout ?? '')
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    return status === 0 && lines.length > 0
      ? { lines }
      : { failed: `${error?.message ?? signal ?? `exit ${status}`}: ${(stderr ?? '').slice(-1500)}` };
  };

  if (wanted('conformance') && existsSync(options.conformance)) {
    const { lines, ...failure } = run(process.execPath, options.conformance, 'cuda');
    const summary = lines?.find((line) => line.summary) ?? failure;
    result.conformance = { ...summary, failures: lines?.filter((line) => !line.summary) };
    console.log(JSON.stringify(result.conformance).slice(0, 4000));
    save();
  }
  for (const one of [...training, ...decoding].filter(({ name }) => wanted(name))) {
    const own = [fileURLToPath(import.meta.url), '--case', one.name, '--steps', options.steps];
    for (const flag of ['graph', 'rehearse']) if (options[flag]) own.push(`--${flag}`);
    const { lines: ours, ...failure } = run(process.execPath, ...own);
    const entry = { name: one.name, ...(ours?.[0] ?? failure) };
    const { limit } = result;
    if (limit !== undefined && entry.operationsPerSecond > 0)
      entry.fractionOfLimit = entry.operationsPerSecond / limit.flops;
    if (limit !== undefined && entry.bytesPerSecond > 0) entry.fractionOfLimit = entry.bytesPerSecond / limit.bytes;
    if (options.peer) {
      const [script, ...flags] = training.includes(one) ? torchTraining(one) : torchDecoding(one);
      const { lines: peers, ...peerFailure } = run('python3', '-B', join(folder, 'peers', script), ...flags);
      entry.torch = peers?.[0] ?? peerFailure;
      const rate = entry.torch.tokens_per_s ?? entry.torch.decode_tok_s;
      if (rate > 0 && entry.tokensPerSecond > 0) entry.ratio = entry.tokensPerSecond / rate;
    }
    result.cases.push(entry);
    console.log(JSON.stringify(entry));
    save();
  }
}

/** Of the device that a description starts with. */
function limitOf(description) {
  return limits[Object.keys(limits).find((name) => description.startsWith(name))];
}

/** Weights from a block of normal numbers that repeats: made on the device, since billions of them take minutes on the host. */
function repeatedNormal(shape, deviation) {
  const size = shape.reduce((product, axis) => product * axis, 1);
  // A prime: no row of a matrix equals the next.
  const block = tf.randomNormal([Math.min(size, 65_521)], 0, deviation, 'float32', 1);
  const times = Math.ceil(size / block.size);
  return tf.reshape(tf.slice(tf.tile(block, [times]), [0], [size]), shape);
}

/** One call in the range that a profiler from outside records. */
function profile(run) {
  const { addon } = tf.backend();
  addon.setProfiling(true);
  run();
  addon.setProfiling(false);
  return { profiled: true };
}

function timeTraining({ preset: presetName, length, sequences, recompute, bfloat16Moments }) {
  const preset = presets[presetName];
  const decoder = createDecoder(preset, 1, { recomputeBlocks: recompute ?? false, normal: repeatedNormal });
  const step = createTrainingStep(decoder, (shape) => tf.fill(shape, 0), { captured: options.graph });
  if (bfloat16Moments) for (const moment of step.moments) storeInBfloat16(moment);
  const batch = randomBatch(preset, sequences, length);
  try {
    const losses = [];
    for (let i = 0; i < 3; i++) losses.push(step.run(batch));
    synchronizeDevice();
    if (options.profile) return profile(() => step.run(batch));
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
    return {
      parameters: decoder.parameters.reduce((sum, { size }) => sum + size, 0),
      milliseconds,
      tokensPerSecond: (sequences * length * 1000) / milliseconds.median,
      operationsPerSecond: (flops * 1000) / milliseconds.median,
      ...(memory ? { peakGiB: memory.peakReservedBytes / 2 ** 30, peakLiveGiB: memory.peakLiveBytes / 2 ** 30 } : {}),
      firstLoss: losses[0],
      lastLoss: losses.at(-1),
    };
  } finally {
    step.dispose();
    decoder.dispose();
    tf.dispose(batch);
  }
}

function timeDecoding({ preset: presetName, batch, prompt = 512, tokens = 128 }) {
  const decoder = createDecoder(presets[presetName], 1, { normal: repeatedNormal });
  const decodingRun = createDecoding(decoder, presets[presetName], { batch, prompt, tokens: 4 * tokens + 16 });
  try {
    decodingRun.advance(8);
    synchronizeDevice();
    if (options.profile) return profile(() => decodingRun.advance(1));
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
    return {
      millisecondsPerToken: milliseconds,
      tokensPerSecond: (batch * 1000) / milliseconds.median,
      bytesPerSecond: (bytes * 1000) / milliseconds.median,
    };
  } finally {
    decodingRun.dispose();
    decoder.dispose();
  }
}

function torchTraining({ preset, length, sequences, torchKeeps = 'all', torchChunk, torchSteps }) {
  const steps = String(torchSteps ?? options.steps);
  const flags = ['--preset', preset, '--seq', String(length), '--batch', String(sequences), '--steps', steps];
  return ['train.py', ...flags, '--keep', torchKeeps, ...(torchChunk ? ['--chunk', String(torchChunk)] : [])];
}

function torchDecoding({ preset, batch }) {
  return ['decode.py', '--preset', preset, '--batch', String(batch)];
}
