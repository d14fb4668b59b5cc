// Greedy decoding with a paged cache: one captured iteration, replayed token by token, each feeding the next on the device.
import * as tf from '@tensorflow/tfjs-core';
import {
  capture,
  createPagedCache,
  embedding,
  linear,
  pagedAttention,
  residualFeedForward,
  residualRmsNormLinear,
  rmsNormLinear,
  ropeAppend,
  sampleTokens,
} from '../../dist/index.js';

const blockSize = 16;
const epsilon = 1e-5;

/** `batch` sequences that have `prompt` tokens in their caches (zeros: what they hold does not change the time) and room for `tokens` more. */
export function createDecoding({ weights }, preset, { batch, prompt, tokens }) {
  const { table, blocks, finalNorm, head, inverseFrequencies, attention } = weights;
  const shape = { ...attention, blockSize };
  const blocksEach = Math.ceil((prompt + tokens) / blockSize);
  const caches = blocks.map(() => createPagedCache(batch * blocksEach, shape));
  const integers = (count, value) => Int32Array.from({ length: count }, (_, i) => value(i));
  const constants = {
    cumulativeQueryLengths: tf.tensor1d(
      integers(batch + 1, (i) => i),
      'int32',
    ),
    blockTables: tf.tensor2d(
      integers(batch * blocksEach, (i) => i),
      [batch, blocksEach],
      'int32',
    ),
    temperature: tf.fill([batch], 0),
    topK: tf.tensor1d(
      integers(batch, () => 0),
      'int32',
    ),
    topP: tf.fill([batch], 1),
    minP: tf.fill([batch], 0),
    uniforms: tf.fill([batch], 0),
  };

  const iteration = (ids, positions, slots, contextLengths) => {
    const sequences = { ...constants, contextLengths };
    let stream = embedding(table, ids);
    blocks.forEach((block, layer) => {
      const { keyCache, valueCache } = caches[layer];
      const { product, residual } = residualRmsNormLinear(stream, block.attentionNorm, block.qkv, { epsilon });
      const qkv = ropeAppend(keyCache, valueCache, product, positions, inverseFrequencies, slots, shape);
      const attended = pagedAttention(qkv, keyCache, valueCache, sequences, shape);
      const upcoming = { weight: block.gateUp, gated: true };
      const middle = linear(attended, block.output, { residual, upcoming });
      stream = residualFeedForward(middle, block.feedForwardNorm, block.gateUp, block.down, { epsilon });
    });
    return [sampleTokens(rmsNormLinear(stream, finalNorm, head, { epsilon }), constants).ids];
  };

  let position = prompt;
  let ids = tf.tensor1d(
    integers(batch, (i) => (i * 7919) % preset.vocabulary),
    'int32',
  );
  const first = ids;
  const indices = () => [
    tf.tensor1d(
      integers(batch, () => position),
      'int32',
    ),
    tf.tensor1d(
      integers(batch, (i) => i * blocksEach * blockSize + position),
      'int32',
    ),
    tf.tensor1d(
      integers(batch, () => position + 1),
      'int32',
    ),
  ];
  const example = indices();
  const captured = capture(iteration, [ids, ...example]);
  tf.dispose(example);

  return {
    /** So many tokens further, each sequence. */
    advance(count) {
      for (let i = 0; i < count; i++) {
        const next = indices();
        [ids] = captured.run(ids, ...next);
        tf.dispose(next);
        position++;
      }
    },
    dispose() {
      captured.dispose();
      tf.dispose([first, ...Object.values(constants)]);
      for (const cache of caches) cache.dispose();
    },
  };
}
