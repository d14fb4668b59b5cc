// A Llama decoder written directly on the operations, for timing: what model-core does, without anything around it.
import * as tf from '@tensorflow/tfjs-core';
import {
  adamW,
  capture,
  checkpointed,
  embedding,
  feedForward,
  globalNormScale,
  groupedQueryAttention,
  kept,
  linear,
  linearCrossEntropy,
  residualRmsNorm,
  rmsNorm,
  rope,
  valueAndGradients,
} from '../dist/index.js';

/** width, layers, query heads, key/value heads, feed-forward width, vocabulary. */
export const presets = {
  tiny: { width: 256, layers: 6, queryHeads: 8, keyValueHeads: 4, feedForward: 704, vocabulary: 8192 },
  '124m': { width: 768, layers: 12, queryHeads: 12, keyValueHeads: 4, feedForward: 2048, vocabulary: 32768 },
  '1b': { width: 2048, layers: 16, queryHeads: 32, keyValueHeads: 8, feedForward: 8192, vocabulary: 65536 },
  '4b': { width: 3072, layers: 36, queryHeads: 24, keyValueHeads: 8, feedForward: 8192, vocabulary: 100352 },
  /** The same graph with next to no arithmetic: what is left is dispatch. */
  empty: { width: 8, layers: 6, queryHeads: 2, keyValueHeads: 1, feedForward: 8, vocabulary: 16 },
};

const epsilon = 1e-5;

/** What a block holds between the passes, from the most to the least: the modes of model-core's `recompute`. `none`: all that gradients read. */
const held = {
  none: undefined,
  elementwise: ['qkv', 'attended', 'middle', 'gateUp'],
  feedForward: ['qkv', 'attended', 'middle'],
  allButAttention: ['attended'],
  block: [],
};

/** The mode of each block: one for all, or how many blocks have which; the first hold the least. */
function modesOf(recompute, layers) {
  const counts = typeof recompute === 'string' ? { [recompute]: layers } : recompute;
  const names = Object.keys(held).reverse();
  const modes = names.flatMap((name) => new Array(counts[name] ?? 0).fill(name));
  if (modes.length !== layers) throw new Error(`recompute names ${modes.length} blocks of ${layers}.`);
  return modes;
}

/** `normal(shape, deviation, seed)` makes the weights; `recompute` says what the backward pass computes again. */
export function createDecoder(
  preset,
  seed = 1,
  {
    recompute = 'none',
    normal = (shape, deviation, weightSeed) => tf.randomNormal(shape, 0, deviation, 'float32', weightSeed),
  } = {},
) {
  const { width, layers, queryHeads, keyValueHeads, feedForward: inner, vocabulary } = preset;
  const headDimension = width / queryHeads;
  const parameters = [];
  const add = (shape, deviation) => {
    const variable = tf.tidy(() =>
      tf.variable(deviation === 0 ? tf.ones(shape) : normal(shape, deviation, seed + parameters.length)),
    );
    parameters.push(variable);
    return variable;
  };
  const table = add([vocabulary, width], 0.02);
  const blocks = Array.from({ length: layers }, () => ({
    attentionNorm: add([width], 0),
    qkv: add([(queryHeads + 2 * keyValueHeads) * headDimension, width], 0.02),
    output: add([width, width], 0.02),
    feedForwardNorm: add([width], 0),
    gateUp: add([2 * inner, width], 0.02),
    down: add([width, inner], 0.02),
  }));
  const finalNorm = add([width], 0);
  const head = add([vocabulary, width], 0.02);
  const inverseFrequencies = tf.tensor1d(
    Float32Array.from({ length: headDimension / 2 }, (_, i) => 10000 ** ((-2 * i) / headDimension)),
  );
  const attention = { queryHeads, keyValueHeads, headDimension };
  const rotation = { rotatedHeads: queryHeads + keyValueHeads, headDimension };

  /** The residual stream → the next block's. */
  const runBlock = (block, mode, { positions, cumulativeLengths }, stream) => {
    const keep = (name, tensor) => (held[mode]?.includes(name) ? kept(tensor) : tensor);
    const first = residualRmsNorm(stream, block.attentionNorm, { epsilon });
    const qkv = keep('qkv', rope(linear(first.normalized, block.qkv), positions, inverseFrequencies, rotation));
    const attended = keep('attended', groupedQueryAttention(qkv, cumulativeLengths, attention));
    const middle = keep('middle', linear(attended, block.output, { residual: first.residual }));
    const second = residualRmsNorm(middle, block.feedForwardNorm, { epsilon });
    const keepGateUp = held[mode]?.includes('gateUp');
    return feedForward(second.normalized, block.gateUp, block.down, { residual: second.residual, keepGateUp });
  };

  const modes = modesOf(recompute, layers);
  function hiddenStates(batch) {
    let stream = embedding(table, batch.ids);
    blocks.forEach((block, layer) => {
      const given = stream;
      const run = () => runBlock(block, modes[layer], batch, given);
      // What the backward pass needs is kept by the tape, the rest goes at once, the block's input included.
      stream = modes[layer] === 'none' ? tf.tidy(run) : checkpointed(run);
      given.dispose();
    });
    const normalized = rmsNorm(stream, finalNorm, { epsilon });
    stream.dispose();
    return normalized;
  }

  return {
    parameters,
    weights: { table, blocks, finalNorm, head, inverseFrequencies, attention, rotation },
    /** Parameters that take part in matrix products; the input table does not. */
    productParameters: parameters
      .filter((one) => one !== table && one.shape.length === 2)
      .reduce((sum, one) => sum + one.size, 0),
    /** After the final norm. */
    hiddenStates,
    loss: (batch) => {
      const expectedGradient = -1 / batch.targets.size;
      return tf.neg(tf.mean(linearCrossEntropy(hiddenStates(batch), head, batch.targets, { expectedGradient })));
    },
    dispose: () => tf.dispose([...parameters, inverseFrequencies]),
  };
}

/** `sequences` documents of `length` random tokens each. */
export function randomBatch({ vocabulary }, sequences, length, seed = 1) {
  let state = seed;
  const next = () => (state = (state * 48271) % 2147483647);
  const tokens = sequences * length;
  const ids = Int32Array.from({ length: tokens }, () => next() % vocabulary);
  return {
    ids: tf.tensor1d(ids, 'int32'),
    targets: tf.tensor1d(
      Int32Array.from(ids, (_, i) => ids[(i + 1) % tokens]),
      'int32',
    ),
    positions: tf.tensor1d(
      Int32Array.from({ length: tokens }, (_, i) => i % length),
      'int32',
    ),
    cumulativeLengths: tf.tensor1d(
      Int32Array.from({ length: sequences + 1 }, (_, i) => i * length),
      'int32',
    ),
  };
}

/**
 * A training step: loss, gradients, clipping, AdamW. `run(batch, learningRate)` returns the loss. `zero(shape)` makes the moments; `captured`
 * records the first batch's step as a graph and replays it.
 */
export function createTrainingStep(decoder, zero = (shape) => tf.zeros(shape), { captured = false } = {}) {
  const { parameters } = decoder;
  const zeros = () => parameters.map((one) => tf.tidy(() => tf.variable(zero(one.shape), false)));
  const state = { parameters, firstMoments: zeros(), secondMoments: zeros() };
  const weightDecay = parameters.map((one) => (one.shape.length === 2 ? 0.1 : 0));
  const update = (batch, step) => {
    const { value, gradients } = valueAndGradients(() => decoder.loss(batch), parameters);
    const list = parameters.map(({ name }) => gradients.get(name));
    const { scale } = globalNormScale(list, 1);
    adamW(state, list, { weightDecay, gradientScale: scale, ...step });
    return value;
  };
  let step = 0;
  let graph;
  const replay = (batch, learningRate) => {
    const names = Object.keys(batch);
    const inputs = [...Object.values(batch), tf.scalar(learningRate), tf.scalar(step, 'int32')];
    graph ??= capture((...given) => {
      const copies = Object.fromEntries(names.map((name, i) => [name, given[i]]));
      return [update(copies, { learningRate: given.at(-2), step: given.at(-1) })];
    }, inputs);
    return graph.run(...inputs)[0];
  };
  const run = (batch, learningRate = 1e-3) => {
    step++;
    return tf.tidy(
      () => (captured ? replay(batch, learningRate) : update(batch, { learningRate, step })).dataSync()[0],
    );
  };
  const dispose = () => {
    graph?.dispose();
    tf.dispose([...state.firstMoments, ...state.secondMoments]);
  };
  return { run, dispose, moments: [...state.firstMoments, ...state.secondMoments] };
}

/**
 * Floating-point operations of one training step: 6 for each token and parameter of a matrix product, and attention's products with
 * its causal half counted once, forward and backward.
 */
export function trainingFlops(decoder, { layers, width }, sequences, length) {
  const tokens = sequences * length;
  return 6 * decoder.productParameters * tokens + 6 * layers * length * width * tokens;
}
