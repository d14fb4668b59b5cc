/** From logits to tokens with their log-probabilities, for several sequences at once. */
import * as tf from '@tensorflow/tfjs-core';
import { embedding, readTogether, sampleTokens, type SampledTokens } from '@xgen-small/kernels';
import { uniformAt } from '../util/random-generator.js';
import type { Sequence } from './sequence.js';
import type { TokenLogProbability } from './types.js';

export interface SampledToken {
  token: number;
  logProbability: number;
  topLogProbabilities?: TokenLogProbability[];
}

/** What sampling gives on the device; rows past the sequences' are ignored. */
export interface SampledRows extends SampledTokens {
  /** float32 [B, V] */
  logits: tf.Tensor2D;
}

/** The n-th token's randomness: a function of (seed, n) alone. */
export function uniformOf({ sampling, generated }: Sequence): number {
  return uniformAt(sampling.seed, generated);
}

/** One token for each sequence from logits [B, V]. */
export function sampleSequences(logits: tf.Tensor2D, sequences: readonly Sequence[]): SampledToken[] {
  let tokens: SampledToken[] = [];
  tf.tidy(() => {
    const numbers = (pick: (sequence: Sequence) => number, dtype: 'float32' | 'int32' = 'float32'): tf.Tensor1D =>
      tf.tensor1d(sequences.map(pick), dtype);
    const sampled = sampleTokens(logits, {
      temperature: numbers(({ sampling }) => sampling.temperature),
      topK: numbers(({ sampling }) => sampling.topK, 'int32'),
      topP: numbers(({ sampling }) => sampling.topP),
      minP: numbers(({ sampling }) => sampling.minP),
      uniforms: numbers(uniformOf),
    });
    tokens = readSampled({ ...sampled, logits }, sequences);
  });
  return tokens;
}

/** Reads the tokens of the first rows, one a sequence, with the alternatives that were asked for. */
export function readSampled(
  { ids, logProbabilities, logits }: SampledRows,
  sequences: readonly Sequence[],
): SampledToken[] {
  const [tokens, chosen] = readTogether([ids, logProbabilities]);
  const sampled = sequences.map((_, i): SampledToken => ({ token: tokens[i], logProbability: chosen[i] }));
  tf.tidy(() => addAlternatives(logits, sequences, sampled));
  return sampled;
}

/** The most probable tokens, for the rows that asked for them. In a tidy. */
function addAlternatives(logits_BV: tf.Tensor2D, sequences: readonly Sequence[], sampled: SampledToken[]): void {
  const rows = sequences.flatMap(({ topLogProbabilities }, row) => (topLogProbabilities > 0 ? [row] : []));
  if (rows.length === 0) return;
  const most = Math.max(...rows.map((row) => sequences[row].topLogProbabilities));
  const chosen = embedding(logits_BV, tf.tensor1d(rows, 'int32'));
  const { values, indices } = tf.topk(tf.logSoftmax(chosen), most, true);
  const logProbabilities = values.dataSync();
  const tokens = indices.dataSync();
  rows.forEach((row, i) => {
    sampled[row].topLogProbabilities = Array.from(
      { length: sequences[row].topLogProbabilities },
      (_, rank): TokenLogProbability => ({
        token: tokens[i * most + rank],
        logProbability: logProbabilities[i * most + rank],
      }),
    );
  });
}
