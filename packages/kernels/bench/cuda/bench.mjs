#!/usr/bin/env node
// Times training steps and decoding on one GPU, ours and PyTorch's; before that, checks the operations, and that training is PyTorch's.
//
//   node bench.mjs [--output FILE] [--seconds 1500] [--only PART,…] [--steps 10] [--warm-up N] [--peer [--peer-variants]] [--graph]
//                  [--recompute MODE|COUNTS] [--profile-cases PART,…] [--parity-folder FOLDER] [--rehearse]
//
// Run it through run.sh, which builds first. The most important figures come first, and the result file is written anew after each:
// what does not fit into --seconds is marked so. Exits 1 where a check failed; that a case failed is a result.
//
// --only: `conformance`, `parity`, and cases, by any part of their id or name. --peer: times PyTorch too (peers/, by the python3 of the
// path); --peer-variants: in each setting that may be its fastest, of which the fastest counts. --graph: training steps are captured and
// replayed. --recompute: what of the blocks is computed again (../decoder.mjs), instead of what the case says: a mode, or JSON. --profile-cases: one step of each under ncu, where
// that is on the path. --rehearse: tiny shapes, on whatever the addon calls a device (run.sh takes the emulated one).
//
// The part `parity` (parity/parity.mjs) runs with --peer, when --only names it, and in rehearsals; there, without --peer, TensorFlow.js's own
// CPU backend stands in for PyTorch. --parity-folder keeps its files.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
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
import { describeCard, watchCard } from './card.mjs';
import { createDecoding } from './decoding.mjs';
import { aggregateProfile, canProfile, profiler } from './profile.mjs';

const folder = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
  options: {
    output: { type: 'string', default: 'cuda.json' },
    seconds: { type: 'string', default: '1500' },
    steps: { type: 'string', default: '10' },
    'warm-up': { type: 'string' },
    only: { type: 'string' },
    conformance: { type: 'string', default: join(folder, 'cuda-conformance.js') },
    peer: { type: 'boolean', default: false },
    'peer-variants': { type: 'boolean', default: false },
    case: { type: 'string' }, // this one, here: what the program calls itself with
    profile: { type: 'boolean', default: false }, // with --case: one step or token in the range of `ncu --profile-from-start off`, not timed
    'profile-cases': { type: 'string' },
    'parity-folder': { type: 'string' },
    graph: { type: 'boolean', default: false },
    recompute: { type: 'string' },
    rehearse: { type: 'boolean', default: false },
  },
});

/** Dense bfloat16 operations and bytes a second of the GPUs that we know; for others no fraction is given. */
const limits = {
  'NVIDIA H100 80GB HBM3': { flops: 989e12, bytes: 3.35e12 },
  'NVIDIA H200': { flops: 989e12, bytes: 4.8e12 },
  'NVIDIA A100-SXM4-80GB': { flops: 312e12, bytes: 2.04e12 },
};
/**
 * `peers`: the settings in which PyTorch is timed, as flags of its script. The first surely fits into 80 GB; one of the others may be faster (less
 * is computed again, products are autotuned) or fail for want of memory, which --peer-variants finds out.
 */
const training = [
  {
    id: '124m-4096x16',
    name: 'train 124m, 4,096 × 16',
    preset: '124m',
    length: 4096,
    sequences: 16,
    peers: ['--keep all', '--keep all --mode max-autotune-no-cudagraphs'],
  },
  {
    id: '1b-4096x8',
    name: 'train 1b, 4,096 × 8',
    preset: '1b',
    length: 4096,
    sequences: 8,
    peers: ['--keep all', '--keep all --mode max-autotune-no-cudagraphs'],
  },
  {
    id: '1b-32768x1',
    name: 'train 1b, 32,768 × 1',
    preset: '1b',
    length: 32768,
    sequences: 1,
    // As many tokens as 4,096 × 8, so as much memory: nothing need be computed again.
    peers: ['--keep all', '--keep all --chunk 8192', '--keep attention --chunk 8192'],
  },
  {
    id: '4b-4096x2',
    name: 'train 4b, 4,096 × 2',
    preset: '4b',
    length: 4096,
    sequences: 2,
    // What fits: no product is computed twice.
    recompute: 'elementwise',
    peers: ['--keep attention --chunk 4096', '--keep attention', '--keep products --chunk 4096', '--budget 0.5'],
  },
  {
    id: '1b-131072x1',
    name: 'train 1b, 131,072 × 1',
    preset: '1b',
    length: 131072,
    sequences: 1,
    recompute: 'allButAttention',
    warmUp: 2,
    peers: ['--keep attention --chunk 8192', '--budget 0.25 --chunk 8192'],
  },
  {
    id: '4b-32768x1',
    name: 'train 4b, 32,768 × 1',
    preset: '4b',
    length: 32768,
    sequences: 1,
    recompute: { allButAttention: 12, feedForward: 24 },
    bfloat16Moments: true,
    peers: ['--keep inputs --chunk 4096', '--keep attention --chunk 4096'],
  },
];
const decodingPeers = ['--attention repeated', '--attention grouped', '--attention flex'];
const decoding = [
  { id: 'decode-1b-1', name: 'decode 1b, batch 1', preset: '1b', batch: 1, peers: decodingPeers },
  { id: 'decode-1b-32', name: 'decode 1b, batch 32', preset: '1b', batch: 32, peers: decodingPeers },
];
const prompt = options.rehearse ? 20 : 512;
/** Decoding is timed so many times over so many tokens each, after others that warm up. */
const [runs, tokensEach, tokensBefore] = options.rehearse ? [3, 1, 2] : [10, 12, 8];
if (options.rehearse) {
  for (const one of training)
    Object.assign(one, { preset: 'empty', length: 32, sequences: 2, recompute: rehearsed(one) });
  for (const one of decoding) Object.assign(one, { preset: 'empty', batch: Math.min(one.batch, 2) });
}

/** The same choice for a preset of six blocks. */
function rehearsed({ recompute = 'none' }) {
  if (typeof recompute === 'string') return recompute;
  const [[first], [second]] = Object.entries(recompute);
  return { [first]: 4, [second]: 2 };
}

if (options.case !== undefined) await runCase(options.case);
else await runAll();

/** One of ours, in this process: a line of JSON. */
async function runCase(name) {
  const one = [...training, ...decoding].find((each) => each.name === name || each.id === name);
  if (one === undefined)
    throw new Error(`There is no case ${name}: ${[...training, ...decoding].map(({ id }) => id)}.`);
  const { name: backend, warnings } = await initializeBackend({ preferred: 'cuda' });
  if (backend !== 'cuda') throw new Error(warnings.join(' '));
  setMatmulPrecision('bfloat16');
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
  const environment = describeEnvironment({ folder });
  const result = {
    benchmark: 'cuda',
    command: `bench.mjs ${process.argv.slice(2).join(' ')}`.trim(),
    ...environment,
    ...bundledCommit(),
    versions: { ...environment.versions, ...libraryVersions(cuda.detail) },
    device: cuda.detail,
    card: describeCard(),
    limit: limitOf(cuda.detail),
    rehearsal: options.rehearse,
    conformance: undefined,
    parity: undefined,
    cases: [],
  };
  const save = () => writeResult(options.output, result);
  const among = (parts, { id, name = id }) => parts.split(',').some((part) => id.includes(part) || name.includes(part));
  const wanted = (one) => options.only === undefined || among(options.only, one);
  /** The lines of JSON that a program prints and the card meanwhile, or how it failed: a failure is a result, not the end. */
  const run = (command, ...flags) => {
    if (remaining() < 30_000) return { lines: [], failure: { leftOut: 'no time' } };
    return runWithin(remaining(), command, ...flags);
  };
  const runWithin = (timeout, command, ...flags) => {
    const watch = watchCard();
    const { stdout, stderr, status, signal, error } = spawnSync(command, flags, {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      timeout,
    });
    const card = watch.stop();
    const lines = (stdout ?? '')
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    if (status === 0 && lines.length > 0) return { lines, card, stdout };
    const why = `${error?.message ?? signal ?? `exit ${status}`}: ${(stderr ?? '').slice(-1500)}`;
    return { lines, failure: { failed: why } };
  };

  if (wanted({ id: 'conformance' }) && existsSync(options.conformance)) {
    const { lines, failure } = run(process.execPath, options.conformance, 'cuda');
    const summary = lines.find((line) => line.summary) ?? failure;
    result.conformance = { ...summary, failures: lines.filter((line) => !line.summary) };
    if (result.conformance.failed !== 0) process.exitCode = 1;
    console.log(JSON.stringify(result.conformance).slice(0, 4000));
    save();
  }
  const asked = options.peer || options.rehearse || options.only !== undefined;
  if (asked && wanted({ id: 'parity' })) {
    result.parity = runParity(run, runWithin);
    if (result.parity.passed !== true) process.exitCode = 1;
    console.log(JSON.stringify(result.parity));
    save();
  }
  for (const one of [...training, ...decoding].filter(wanted)) {
    const own = [fileURLToPath(import.meta.url), '--case', one.id, '--steps', options.steps];
    for (const flag of ['graph', 'rehearse']) if (options[flag]) own.push(`--${flag}`);
    for (const flag of ['warm-up', 'recompute']) if (options[flag] !== undefined) own.push(`--${flag}`, options[flag]);
    const { lines: ours, card, failure } = run(process.execPath, ...own);
    const entry = { id: one.id, name: one.name, ...(failure ?? ours[0]), card };
    const { limit } = result;
    if (limit !== undefined && entry.operationsPerSecond > 0)
      entry.fractionOfLimit = entry.operationsPerSecond / limit.flops;
    if (limit !== undefined && entry.bytesPerSecond > 0) entry.fractionOfLimit = entry.bytesPerSecond / limit.bytes;
    // At once: a peer may take so long that somebody stops the program.
    result.cases.push(entry);
    save();
    if (options.peer) {
      const variants = (options['peer-variants'] ? one.peers : one.peers.slice(0, 1)).map((setting) => {
        const [script, ...flags] = training.includes(one) ? torchTraining(one) : torchDecoding(one);
        const all = ['-B', join(folder, 'peers', script), ...flags, ...setting.split(' ')];
        const { lines: peers, card: peerCard, failure: peerFailure } = run('python3', ...all);
        return { setting, ...(peerFailure ?? describePeer(peers[0])), card: peerCard };
      });
      entry.torch = variants.reduce((best, next) =>
        (next.tokensPerSecond ?? 0) > (best.tokensPerSecond ?? 0) ? next : best,
      );
      if (variants.length > 1) entry.torchVariants = variants;
      if (entry.torch.tokensPerSecond > 0 && entry.tokensPerSecond > 0)
        entry.ratio = entry.tokensPerSecond / entry.torch.tokensPerSecond;
      result.versions.torch ??= /^torch (.*)$/.exec(entry.torch.peer)?.[1];
      result.versions.torchCudnn ??= entry.torch.cudnn;
    }
    if (options['profile-cases'] !== undefined && among(options['profile-cases'], one)) {
      entry.profile = canProfile() ? profileCase(run, own) : { leftOut: 'ncu is not on the path' };
    }
    console.log(JSON.stringify(entry));
    save();
  }
  // The clocks that were found are those of an idle card; these, of one that has just worked.
  result.cardAfter = describeCard();
  save();
}

/** The same training, ours and PyTorch's, or in rehearsals its stand-in's, and the comparison. */
function runParity(run, runWithin) {
  const program = [join(folder, 'cuda-parity.js'), join(folder, 'parity', 'parity.mjs')].find(existsSync);
  const files = options['parity-folder'] ?? mkdtempSync(join(tmpdir(), 'parity-'));
  mkdirSync(files, { recursive: true });
  const flags = (flag) => (options[flag] ? [`--${flag}`] : []);
  const python = ['python3', '-B', join(folder, 'peers', 'parity.py'), files];
  if (options.rehearse) python.push('--device', 'cpu');
  const usePeer = options.peer || !options.rehearse;
  const parts = [
    [process.execPath, program, 'prepare', files, ...flags('rehearse')],
    [process.execPath, program, 'run', files, ...flags('graph')],
    usePeer ? python : [process.execPath, program, 'stand-in', files],
  ];
  try {
    for (const part of parts) {
      const { failure } = run(...part);
      if (failure !== undefined) return { passed: false, ...failure };
    }
    // It fails with its findings where the two disagree. Not for want of seconds: what it compares took minutes.
    const { lines, failure } = runWithin(60_000, process.execPath, program, 'compare', files);
    return lines[0] ?? { passed: false, ...failure };
  } finally {
    if (options['parity-folder'] === undefined) rmSync(files, { recursive: true });
  }
}

/** What a peer printed, its times summarised as ours are. */
function describePeer(printed) {
  const { times_ms: times, tokens_per_s: training, decode_tok_s: decoded, ...rest } = printed;
  return { tokensPerSecond: training ?? decoded, milliseconds: times && summarize(times), ...rest };
}

function profileCase(run, own) {
  const [command, ...flags] = [...profiler, process.execPath, ...own.filter((flag) => flag !== '--graph'), '--profile'];
  const { stdout, failure } = run(command, ...flags);
  return failure ?? { command: `${profiler.join(' ')} node bench.mjs --case … --profile`, ...aggregateProfile(stdout) };
}

/** The commit that a bundle was made from; the folder it lies in need not be a checkout, or may be another's. */
function bundledCommit() {
  const file = join(folder, 'bundle.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
}

/** The libraries that a device's description names. */
function libraryVersions(description) {
  const version = (pattern) => pattern.exec(description)?.[1];
  return {
    cudaRuntime: version(/runtime ([\d.]*\d)/),
    cublasLt: version(/cuBLASLt ([\d.]*\d)/),
    cudnn: version(/cuDNN ([\d.]*\d)/),
  };
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

function timeTraining({
  preset: presetName,
  length,
  sequences,
  recompute: chosen = 'none',
  bfloat16Moments = false,
  warmUp = 3,
}) {
  const preset = presets[presetName];
  const asked = options.recompute;
  const recompute = asked === undefined ? chosen : asked.startsWith('{') ? JSON.parse(asked) : asked;
  const decoder = createDecoder(preset, 1, { recompute, normal: repeatedNormal });
  const step = createTrainingStep(decoder, (shape) => tf.fill(shape, 0), { captured: options.graph });
  if (bfloat16Moments) for (const moment of step.moments) storeInBfloat16(moment);
  const batch = randomBatch(preset, sequences, length);
  try {
    const losses = [];
    for (let i = 0; i < Number(options['warm-up'] ?? warmUp); i++) losses.push(step.run(batch));
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
    return {
      settings: { recompute, bfloat16Moments, graph: options.graph },
      parameters: decoder.parameters.reduce((sum, { size }) => sum + size, 0),
      milliseconds,
      tokensPerSecond: (sequences * length * 1000) / milliseconds.median,
      operationsPerSecond: (flops * 1000) / milliseconds.median,
      ...memoryPeaks(),
      firstLoss: losses[0],
      lastLoss: losses.at(-1),
    };
  } finally {
    step.dispose();
    decoder.dispose();
    tf.dispose(batch);
  }
}

function timeDecoding({ preset: presetName, batch }) {
  const preset = presets[presetName];
  const decoder = createDecoder(preset, 1, { normal: repeatedNormal });
  const tokens = tokensBefore + runs * tokensEach;
  const decodingRun = createDecoding(decoder, preset, { batch, prompt, tokens });
  try {
    decodingRun.advance(tokensBefore);
    synchronizeDevice();
    if (options.profile) return profile(() => decodingRun.advance(1));
    resetDeviceMemoryPeaks();
    const times = [];
    for (let i = 0; i < runs; i++) {
      const before = performance.now();
      decodingRun.advance(tokensEach);
      synchronizeDevice();
      times.push((performance.now() - before) / tokensEach);
    }
    const milliseconds = summarize(times);
    // What a token cannot do without reading: all weights but the input table, and the keys and values of its context.
    const context = prompt + tokensBefore + (runs * tokensEach) / 2;
    const { layers, keyValueHeads, queryHeads, width } = preset;
    const cacheBytes = 2 * 2 * batch * context * layers * keyValueHeads * (width / queryHeads);
    const weightBytes = 2 * decoder.productParameters;
    return {
      settings: { prompt, tokens: runs * tokensEach },
      milliseconds,
      tokensPerSecond: (batch * 1000) / milliseconds.median,
      bytesPerSecond: ((weightBytes + cacheBytes) * 1000) / milliseconds.median,
      weightBytes,
      cacheBytes,
      ...memoryPeaks(),
    };
  } finally {
    decodingRun.dispose();
    decoder.dispose();
  }
}

function memoryPeaks() {
  const memory = deviceMemory();
  return memory ? { peakGiB: memory.peakReservedBytes / 2 ** 30, peakLiveGiB: memory.peakLiveBytes / 2 ** 30 } : {};
}

function torchTraining({ preset, length, sequences, warmUp = 3 }) {
  const shape = ['--preset', preset, '--seq', String(length), '--batch', String(sequences)];
  return ['train.py', ...shape, '--steps', options.steps, '--warm-up', options['warm-up'] ?? String(warmUp)];
}

function torchDecoding({ preset, batch }) {
  const timed = ['--prompt', String(prompt), '--runs', String(runs), '--tokens', String(tokensEach)];
  return ['decode.py', '--preset', preset, '--batch', String(batch), ...timed];
}
