// Greedy decoding with a paged cache: one captured iteration, replayed token by token. Ids, positions, slots and lengths are variables, which the iteration
// itself moves on.
import * as tf from '@tensorflow/tfjs-core';
import { capture, createPagedCache, decoderStep, sampleTokens } from '../../dist/index.js';

const blockSize = 16;
const epsilon = 1e-5;

/** `batch` sequences that have `prompt` tokens in their caches (zeros: what they hold does not change the time) and room for `tokens` more. */
export function createDecoding({ weights }, preset, { batch, prompt, tokens }) {
  const { table, blocks, finalNorm, head, inverseFrequencies, attention } = weights;
  const shape = { ...attention, blockSize };
  // The capture runs once for real.
  const blocksEach = Math.ceil((prompt + 1 + tokens) / blockSize);
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

  const numbers = (value) =>
    tf.tidy(() =>
      tf.variable(
        tf.tensor1d(
          integers(batch, (i) => value(i)),
          'int32',
        ),
        false,
      ),
    );
  const positions = numbers(() => prompt);
  const slots = numbers((i) => i * blocksEach * blockSize + prompt);
  const contextLengths = numbers(() => prompt + 1);
  const ids = numbers((i) => (i * 7919) % preset.vocabulary);

  const { cumulativeQueryLengths, blockTables } = constants;
  const sequences = { positions, slots, contextLengths, blockTables, cumulativeQueryLengths };
  const layers = blocks.map((block, layer) => ({
    ...block,
    keyCache: caches[layer].keyCache,
    valueCache: caches[layer].valueCache,
  }));
  const model = { layers, finalNorm, head, inverseFrequencies };
  const options = { ...shape, epsilon, advance: true };
  const iteration = () => {
    const logits = decoderStep({ table, ids }, model, sequences, options);
    return [sampleTokens(logits, constants, ids).logProbabilities];
  };
  const captured = capture(iteration, []);

  return {
    /** So many tokens further, each sequence. */
    advance(count) {
      for (let i = 0; i < count; i++) captured.run();
    },
    dispose() {
      captured.dispose();
      tf.dispose([ids, positions, slots, contextLengths, ...Object.values(constants)]);
      for (const cache of caches) cache.dispose();
    },
  };
}
