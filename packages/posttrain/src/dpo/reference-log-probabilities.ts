/**
 * Log-probabilities of the pairs' answers under the model as it is before training, computed once with forward passes
 * only and kept in the run folder: no reference model is held while training.
 */
import { join } from 'node:path';
import { mkdir, access } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs-core';
import { readSafetensors, writeSafetensors, type CausalLanguageModel } from '@xgen-small/model-core';
import type { ProgressEvent } from '@xgen-small/pretrain';
import { PosttrainError } from '../errors.js';
import { groupByTokens, packSequences, type PackedSequences } from '../model/packed-sequences.js';
import { logProbabilitiesOfTargets, targetHiddenStates } from '../model/target-log-probabilities.js';
import { throwIfAborted, yieldToEventLoop } from '../run/abort.js';
import { pairTokens, type PreferencePair } from './preference-sequences.js';

/** [pairs] each; sums over the answer's tokens. */
export interface PairLogProbabilities {
  chosen: Float64Array;
  rejected: Float64Array;
}

/** Sums of the log-probabilities [R] of each sequence; [sequences]. */
export function sumBySequence(logProbabilities: ArrayLike<number>, { offsets }: PackedSequences): Float64Array {
  const sums = new Float64Array(offsets.length - 1);
  for (let i = 0; i < sums.length; i++) {
    for (let row = offsets[i]; row < offsets[i + 1]; row++) sums[i] += logProbabilities[row];
  }
  return sums;
}

/** Chosen and rejected of each pair, one after the other. */
export function packPairs(pairs: readonly PreferencePair[]): PackedSequences {
  return packSequences(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]));
}

export interface ReferenceOptions {
  microBatchTokens: number;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

export async function pairLogProbabilities(
  model: CausalLanguageModel,
  pairs: readonly PreferencePair[],
  { microBatchTokens, signal, onProgress }: ReferenceOptions,
): Promise<PairLogProbabilities> {
  const result = { chosen: new Float64Array(pairs.length), rejected: new Float64Array(pairs.length) };
  let done = 0;
  for (const group of groupByTokens(pairs, pairTokens, microBatchTokens)) {
    throwIfAborted(signal, 'Computing log-probabilities');
    const packed = packPairs(group);
    const values = tf.tidy(() => logProbabilitiesOfTargets(model, targetHiddenStates(model, packed), packed.targets));
    const sums = sumBySequence(await values.data(), packed);
    values.dispose();
    group.forEach((_, i) => {
      result.chosen[done + i] = sums[2 * i];
      result.rejected[done + i] = sums[2 * i + 1];
    });
    done += group.length;
    onProgress?.({ task: 'reference log-probabilities', completed: done, total: pairs.length, unit: 'pairs' });
    await yieldToEventLoop();
  }
  return result;
}

/** Reads them from `folder` where an earlier run with the same `identity` left them, else computes and writes them. */
export async function cachedReferenceLogProbabilities(
  folder: string,
  identity: string,
  compute: () => Promise<PairLogProbabilities>,
): Promise<PairLogProbabilities> {
  const file = join(folder, 'reference-log-probabilities.safetensors');
  if (await exists(file)) {
    const reader = await readSafetensors(file);
    try {
      if (reader.metadata.identity === identity) {
        const [chosen, rejected] = await Promise.all([reader.readBytes('chosen'), reader.readBytes('rejected')]);
        return { chosen: new Float64Array(chosen.buffer), rejected: new Float64Array(rejected.buffer) };
      }
    } finally {
      await reader.close();
    }
    throw new PosttrainError('RUN_MISMATCH', `${file} belongs to another model, other pairs or another recipe.`, {
      value: folder,
      remedy: 'Restore the model and the data of that run, or choose another folder.',
    });
  }
  const { chosen, rejected } = await compute();
  await mkdir(folder, { recursive: true });
  const source = (name: string, data: Float64Array) => ({
    name,
    dtype: 'F64' as const,
    shape: [data.length],
    data: () => data,
  });
  await writeSafetensors(file, [source('chosen', chosen), source('rejected', rejected)], { metadata: { identity } });
  return { chosen, rejected };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
