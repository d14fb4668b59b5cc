#!/usr/bin/env node
// Whether training here and in PyTorch is the same: the same weights, the same tokens, 200 steps, every loss; and the logits before and after.
//
//   node parity.mjs prepare FOLDER [--rehearse] [--sequences 16] [--rate 1e-4] [--warm-up 100]
//                                                   writes plan.json, tokens.bin (int32), weights.safetensors
//   node parity.mjs run FOLDER [--graph]            ours, on cuda in bfloat16: ours.json, ours.*.logits, trained.safetensors
//   node parity.mjs stand-in FOLDER                 instead of peers/parity.py: TensorFlow.js's own CPU backend, in float32
//   node parity.mjs compare FOLDER                  a line of JSON; exits 1 where they disagree
//
// The default plan is one that PyTorch, trained twice, follows itself (to 0.2 %). At rates from 3e-4 on it does not: its losses compiled and
// uncompiled part by 1 % and more as the model learns what follows what, or in a spike, and say nothing about a third program.
//
// Between run and compare comes `python3 peers/parity.py FOLDER`: peer.json, peer.*.logits, again.* (the same uncompiled), float32.*.logits,
// exact.*.logits (in float32 from weights rounded to bfloat16). bench.mjs does all of it as the part `parity`. 2 GB of files at the full size.
import { closeSync, copyFileSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { initializeBackend, linear, setMatmulPrecision, synchronizeDevice } from '../../../dist/index.js';
import { createDecoder, createTrainingStep, presets } from '../../decoder.mjs';
import { compareParity } from './compare.mjs';
import { readAll, readSafetensors, writeAll, writeSafetensors } from './safetensors.mjs';
import { createTokens, createUniform } from './tokens.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rehearse: { type: 'boolean', default: false },
    graph: { type: 'boolean', default: false },
    sequences: { type: 'string', default: '16' },
    rate: { type: 'string', default: '1e-4' },
    'warm-up': { type: 'string', default: '100' },
  },
});
const [command, folder] = positionals;
const commands = { prepare, run, 'stand-in': standIn, compare };
if (!Object.hasOwn(commands, command) || folder === undefined) {
  console.error(`Say one of ${Object.keys(commands).join(', ')}, and a folder.`);
  process.exit(2);
}
await commands[command]();

function prepare() {
  const [preset, sequences, length, steps] = options.rehearse
    ? [{ width: 32, layers: 2, queryHeads: 4, keyValueHeads: 2, feedForward: 64, vocabulary: 64 }, 2, 32, 12]
    : [presets['124m'], wholeNumber('sequences'), 4096, 200];
  const plan = {
    preset,
    sequences,
    length,
    steps,
    /** Of the first batch, whose logits are compared: evenly spread, in all sequences. */
    rows: every(Math.max(1, (sequences * length) / 1024), sequences * length),
    minimumFall: options.rehearse ? 0 : 0.2,
    rates: schedule(steps),
    peakRate: positive('rate'),
    settings: {
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      weightDecay: 0.1,
      weightDecayOfNorms: 0,
      maximumNorm: 1,
      normEpsilon: 1e-5,
      ropeBase: 10000,
    },
  };
  writeFileSync(join(folder, 'plan.json'), JSON.stringify(plan));
  const descriptor = openSync(join(folder, 'tokens.bin'), 'w');
  // One more than its length of each sequence: the last target.
  const stream = { vocabulary: preset.vocabulary, sequences: steps * sequences, length: length + 1, seed: 7 };
  writeAll(descriptor, createTokens(stream));
  closeSync(descriptor);
  const shapes = parameterShapes(preset);
  writeSafetensors(join(folder, 'weights.safetensors'), shapes, initialWeights(shapes));
  console.log(JSON.stringify({ prepared: folder }));
}

function wholeNumber(option) {
  const value = positive(option);
  if (Number.isInteger(value)) return value;
  return refuse(option, 'a whole number');
}

function positive(option) {
  const value = Number(options[option]);
  return value > 0 && Number.isFinite(value) ? value : refuse(option, 'a number');
}

function refuse(option, wanted) {
  console.error(`--${option} ${options[option]}: say ${wanted} above 0.`);
  process.exit(2);
}

function every(stride, end) {
  return Array.from({ length: Math.floor(end / stride) }, (_, i) => i * stride);
}

/** The learning rate of each step: a linear warm-up, then a cosine down to a tenth. */
function schedule(steps) {
  const [peak, warmUp] = [positive('rate'), Math.min(steps / 2, wholeNumber('warm-up'))];
  return Array.from({ length: steps }, (_, i) => {
    if (i < warmUp) return (peak * (i + 1)) / warmUp;
    return peak * (0.55 + 0.45 * Math.cos((Math.PI * (i - warmUp)) / (steps - 1 - warmUp)));
  });
}

/** [name, shape] of each parameter, under the names that peers/decoder.py has, in decoder.mjs's order. */
function parameterShapes({ width, layers, queryHeads, keyValueHeads, feedForward, vocabulary }) {
  const headDimension = width / queryHeads;
  const block = [
    ['attention_norm', [width]],
    ['qkv', [(queryHeads + 2 * keyValueHeads) * headDimension, width]],
    ['output', [width, width]],
    ['feed_forward_norm', [width]],
    ['gate_up', [2 * feedForward, width]],
    ['down', [width, feedForward]],
  ];
  return [
    ['table.weight', [vocabulary, width]],
    ...Array.from({ length: layers }, (_, i) =>
      block.map(([name, shape]) => [`blocks.${i}.${name}.weight`, shape]),
    ).flat(),
    ['final_norm.weight', [width]],
    ['head.weight', [vocabulary, width]],
  ];
}

/** Norms of ones; matrices uniform with deviation 0.02, which is drawn faster than normal numbers and trains as well. */
function* initialWeights(shapes) {
  const uniform = createUniform(1);
  const width = 0.02 * Math.sqrt(12);
  for (const [name, shape] of shapes) {
    const values = new Float32Array(shape.reduce((product, axis) => product * axis, 1));
    if (shape.length === 1) values.fill(1);
    else for (let i = 0; i < values.length; i++) values[i] = (uniform() - 0.5) * width;
    yield { name, shape, values };
  }
}

async function run() {
  await start('cuda');
  setMatmulPrecision('bfloat16');
  train('ours', { name: tf.getBackend(), precision: 'bfloat16', rounds: true });
}

async function standIn() {
  await start('cpu');
  train('peer', { name: 'TensorFlow.js cpu, standing in for PyTorch', precision: 'float32', rounds: false });
  for (const weights of ['initial', 'trained'])
    for (const side of ['exact', 'float32'])
      copyFileSync(join(folder, `peer.${weights}.logits`), join(folder, `${side}.${weights}.logits`));
}

async function start(preferred) {
  const { name, warnings } = await initializeBackend({ preferred });
  if (name !== preferred) throw new Error(warnings.join(' '));
}

/** All steps, then the logits; `side` names the files. Our own side also leaves the weights it ended with. */
function train(side, description) {
  const plan = JSON.parse(readFileSync(join(folder, 'plan.json'), 'utf8'));
  const { preset, steps, rates } = plan;
  const shapes = parameterShapes(preset);
  const decoder = createDecoder(preset, 1, { normal: (shape) => tf.zeros(shape) });
  const step = createTrainingStep(decoder, undefined, { captured: options.graph });
  const load = (file) => {
    let i = 0;
    for (const { name, shape, values } of readSafetensors(join(folder, file))) {
      const parameter = decoder.parameters[i];
      if (name !== shapes[i++]?.[0] || String(parameter.shape) !== String(shape))
        throw new Error(`${file}: ${name} [${shape}] does not fit the decoder's [${parameter?.shape}].`);
      tf.tidy(() => parameter.assign(tf.tensor(values, shape)));
    }
    if (i !== shapes.length) throw new Error(`${file} has ${i} tensors, not ${shapes.length}.`);
  };

  load('weights.safetensors');
  writeLogits(decoder, plan, join(folder, `${side}.initial.logits`));
  const tokens = openSync(join(folder, 'tokens.bin'), 'r');
  const losses = [];
  const before = performance.now();
  for (let i = 0; i < steps; i++) {
    const batch = readBatch(tokens, plan, i);
    losses.push(step.run(batch, rates[i]));
    tf.dispose(Object.values(batch));
  }
  synchronizeDevice();
  const seconds = (performance.now() - before) / 1e3;
  closeSync(tokens);
  if (side === 'ours') writeSafetensors(join(folder, 'trained.safetensors'), shapes, values(decoder, shapes));
  else load('trained.safetensors');
  writeLogits(decoder, plan, join(folder, `${side}.trained.logits`));
  writeFileSync(join(folder, `${side}.json`), JSON.stringify({ ...description, seconds, losses }));
  console.log(JSON.stringify({ side, seconds, first: losses[0], last: losses.at(-1) }));
  step.dispose();
  decoder.dispose();
}

function* values({ parameters }, shapes) {
  for (const [i, [name, shape]] of shapes.entries()) yield { name, shape, values: parameters[i].dataSync() };
}

/** The batch of step `step` from 0, as decoder.mjs takes it. */
function readBatch(descriptor, { sequences, length }, step) {
  const row = length + 1;
  const tokens = readAll(descriptor, new Int32Array(sequences * row), 4 * step * sequences * row);
  const each = (value) =>
    tf.tensor1d(
      Int32Array.from({ length: sequences * length }, (_, i) => value(Math.floor(i / length), i % length)),
      'int32',
    );
  return {
    ids: each((sequence, i) => tokens[sequence * row + i]),
    targets: each((sequence, i) => tokens[sequence * row + i + 1]),
    positions: each((_, i) => i),
    cumulativeLengths: tf.tensor1d(
      Int32Array.from({ length: sequences + 1 }, (_, i) => i * length),
      'int32',
    ),
  };
}

/** The planned rows of the first batch's logits, float32, end to end. */
function writeLogits(decoder, plan, file) {
  const tokens = openSync(join(folder, 'tokens.bin'), 'r');
  const batch = readBatch(tokens, plan, 0);
  closeSync(tokens);
  const descriptor = openSync(file, 'w');
  tf.tidy(() => {
    const chosen = tf.gather(decoder.hiddenStates(batch), tf.tensor1d(plan.rows, 'int32'));
    writeAll(descriptor, linear(chosen, decoder.weights.head).dataSync());
  });
  closeSync(descriptor);
  tf.dispose(Object.values(batch));
}

function compare() {
  const result = compareParity(folder);
  console.log(JSON.stringify(result));
  process.exit(result.passed ? 0 : 1);
}
