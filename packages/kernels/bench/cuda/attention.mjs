#!/usr/bin/env node
// Attention alone, forward and backward: cuDNN's, where it takes the case, and what the backend chooses, against the deterministic
// kernels here, whose results must agree.
//
//   node attention.mjs [--only TEXT]                 the cases below whose names contain TEXT
//   node attention.mjs --lengths 5,300,… [--heads 32,8,64]   documents of these lengths; query heads, key-value heads, head size
//
// One line of JSON a case: times in milliseconds (medians of 5), rates that count the causal half, differences relative to the deterministic kernels.
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { initializeBackend, setDeterministic, setMatmulPrecision, synchronizeDevice } from '../../dist/index.js';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    lengths: { type: 'string' },
    heads: { type: 'string', default: '32,8,64' },
    forward: { type: 'boolean', default: false }, // alone
  },
});

const small = { queryHeads: 12, keyValueHeads: 4, headDimension: 64 };
const middle = { queryHeads: 32, keyValueHeads: 8, headDimension: 64 };
const large = { queryHeads: 24, keyValueHeads: 8, headDimension: 128 };
const even = (count, length) => Array.from({ length: count }, () => length);
/** So many lengths that add up to `tokens`, some of them 0 or 1. */
function uneven(count, tokens) {
  const borders = Array.from({ length: count - 1 }, (_, i) => (i * 7919 * 104729 + (i % 3)) % (tokens + 1)).sort(
    (a, b) => a - b,
  );
  return [...borders, tokens].map((border, i) => border - (i === 0 ? 0 : borders[i - 1]));
}
const cases = [
  { name: '124m, 16 × 4,096', shape: small, lengths: even(16, 4096) },
  { name: '1b, 8 × 4,096', shape: middle, lengths: even(8, 4096) },
  { name: '1b, 32,768', shape: middle, lengths: [32768] },
  { name: '4b, 2 × 4,096', shape: large, lengths: even(2, 4096) },
  { name: '4b, 32,768', shape: large, lengths: [32768] },
  { name: '124m, 16 × 4,096 unknown', shape: small, lengths: even(16, 4096), unknown: true },
  { name: '124m, packed', shape: small, lengths: uneven(100, 65536) },
  { name: '1b, packed', shape: middle, lengths: uneven(20, 32768) },
  { name: '1b, 32,768 + 3', shape: middle, lengths: [32771] },
  { name: '4b, packed', shape: large, lengths: uneven(5, 8192) },
  {
    name: 'equal heads, packed',
    shape: { queryHeads: 4, keyValueHeads: 4, headDimension: 64 },
    lengths: uneven(9, 1000),
  },
  { name: '1b, 131,072', shape: middle, lengths: [131072], once: true },
];

const numbers = (text) => text.split(',').map(Number);
if (options.lengths !== undefined) {
  const [queryHeads, keyValueHeads, headDimension] = numbers(options.heads);
  const shape = { queryHeads, keyValueHeads, headDimension };
  cases.splice(0, cases.length, { name: options.lengths, shape, lengths: numbers(options.lengths) });
}

const { name: backend, warnings } = await initializeBackend({ preferred: 'cuda' });
if (backend !== 'cuda') throw new Error(warnings.join(' '));
setMatmulPrecision('bfloat16');

/** In bfloat16, made on the device: a norm's output. */
function normal(rows, width) {
  const block = tf.randomNormal([Math.min(rows * width, 65_521)], 0, 1, 'float32', 7);
  return tf.tidy(() => {
    const repeated = tf.slice(tf.tile(block, [Math.ceil((rows * width) / block.size)]), [0], [rows * width]);
    const [y] = tf
      .engine()
      .runKernel('XgRmsNorm', { x: tf.reshape(repeated, [rows, width]), weight: tf.ones([width]) }, { epsilon: 1e-5 });
    return y;
  });
}

function time(repeats, run) {
  const times = [];
  for (let i = 0; i <= repeats; i++) {
    synchronizeDevice();
    const before = performance.now();
    const outputs = run();
    synchronizeDevice();
    times.push(performance.now() - before);
    if (i < repeats) tf.dispose(outputs);
    else return { milliseconds: times.slice(1).sort((a, b) => a - b)[repeats >> 1], first: times[0], outputs };
  }
}

function difference(a, b) {
  return tf.tidy(() => {
    const [x, y] = [tf.cast(a, 'float32'), tf.cast(b, 'float32')];
    return tf.sqrt(tf.div(tf.sum(tf.square(tf.sub(x, y))), tf.sum(tf.square(y)))).dataSync()[0];
  });
}

for (const { name, shape, lengths, unknown, once } of cases.filter((one) => one.name.includes(options.only))) {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const width = shape.queryHeads * shape.headDimension;
  const qkv = normal(tokens, (shape.queryHeads + 2 * shape.keyValueHeads) * shape.headDimension);
  const dy = normal(tokens, width);
  let end = 0;
  const given = tf.tensor1d(
    Int32Array.from([0, ...lengths], (length) => (end += length)),
    'int32',
  );
  const cumulativeLengths = unknown ? tf.add(given, tf.scalar(0, 'int32')) : given;
  const attributes = { ...shape, scale: 1 / Math.sqrt(shape.headDimension) };
  const products = lengths.reduce((sum, length) => sum + length * length, 0) * 2 * width;
  const result = { name };
  const measure = (which) => {
    setDeterministic(which === 'deterministic');
    tf.backend().addon.setLibraryAttention(which === 'library');
    const repeats = once ? 1 : 5;
    const forward = time(repeats, () => tf.engine().runKernel('XgAttention', { qkv, cumulativeLengths }, attributes));
    const [out, logSumExp] = forward.outputs;
    if (options.forward) return { rates: forward, tensors: [out, logSumExp] };
    const backward = time(repeats, () =>
      tf.engine().runKernel('XgAttentionGrad', { qkv, cumulativeLengths, out, logSumExp, dy }, attributes),
    );
    const rates = {
      forward: forward.milliseconds,
      forwardTflops: products / forward.milliseconds / 1e9,
      backward: backward.milliseconds,
      backwardTflops: (2.5 * products) / backward.milliseconds / 1e9,
      firstCalls: [forward.first, backward.first],
    };
    return { rates, tensors: [out, logSumExp, [backward.outputs].flat()[0]] };
  };
  try {
    const measured = {};
    for (const which of once ? ['library', 'chosen'] : ['library', 'chosen', 'deterministic']) {
      measured[which] = measure(which);
      result[which] = measured[which].rates;
    }
    const { deterministic, ...others } = measured;
    if (deterministic !== undefined) {
      result.differences = Object.fromEntries(
        Object.entries(others).map(([which, { tensors }]) => [
          which,
          tensors.map((tensor, i) => difference(tensor, deterministic.tensors[i])),
        ]),
      );
    }
    tf.dispose(Object.values(measured).map(({ tensors }) => tensors));
  } catch (error) {
    result.failed = String(error.message).slice(0, 1000);
  }
  console.log(JSON.stringify(result));
  tf.dispose([qkv, dy, given, cumulativeLengths]);
}
