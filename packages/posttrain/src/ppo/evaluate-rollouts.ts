/**
 * Forward passes over sampled answers, before any update: what the policy that sampled, the reference and the critic say
 * about each token. One pass of the policy and one of the reference (and of the critic's own trunk), no gradients.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { CausalLanguageModel } from '@xgen-small/model-core';
import { groupByTokens, packSequences, type TargetSequence } from '../model/packed-sequences.js';
import { logProbabilitiesOfTargets, targetHiddenStates } from '../model/target-log-probabilities.js';
import type { RolloutSample } from '../rollout/rollout.js';
import { throwIfAborted, yieldToEventLoop } from '../run/abort.js';
import type { ValueFunction } from './value-function.js';

/** Arrays of [R]: the completion tokens of all samples, end to end. */
export interface RolloutTokens {
  /** [samples + 1]; sample i owns offsets[i] … offsets[i + 1]. */
  offsets: Int32Array;
  /** Of the policy that sampled, at the stage's temperature, from the trainer's forward pass. */
  oldLogProbabilities: Float32Array;
  referenceLogProbabilities: Float32Array;
  /** Of the state before each token. */
  oldValues: Float32Array;
  /** Largest |rollout − trainer| log-probability at temperature 1. */
  logProbabilityMismatch: number;
}

export interface EvaluateRolloutsOptions {
  policy: CausalLanguageModel;
  reference: CausalLanguageModel;
  valueFunction: ValueFunction;
  temperature: number;
  microBatchTokens: number;
  signal?: AbortSignal;
}

/** Prompt and completion with the completion as targets. */
export function rolloutSequence({ promptTokens, completionTokens }: RolloutSample): TargetSequence {
  const tokens = new Int32Array(promptTokens.length + completionTokens.length);
  tokens.set(promptTokens);
  tokens.set(completionTokens, promptTokens.length);
  return { tokens, targetMask: new Uint8Array(tokens.length).fill(1, promptTokens.length) };
}

export async function evaluateRollouts(
  samples: readonly RolloutSample[],
  { policy, reference, valueFunction, temperature, microBatchTokens, signal }: EvaluateRolloutsOptions,
): Promise<RolloutTokens> {
  const offsets = new Int32Array(samples.length + 1);
  samples.forEach(({ completionTokens }, i) => (offsets[i + 1] = offsets[i] + completionTokens.length));
  const tokens = offsets[samples.length];
  const result = {
    offsets,
    oldLogProbabilities: new Float32Array(tokens),
    referenceLogProbabilities: new Float32Array(tokens),
    oldValues: new Float32Array(tokens),
  };
  const sampled = new Float32Array(tokens);
  const untempered = temperature === 1 ? result.oldLogProbabilities : new Float32Array(tokens);
  samples.forEach(({ logProbabilities }, i) => sampled.set(logProbabilities, offsets[i]));
  let at = 0;
  for (const group of groupByTokens(
    samples.map(rolloutSequence),
    (sequence) => sequence.tokens.length,
    microBatchTokens,
  )) {
    throwIfAborted(signal, 'Evaluating samples');
    const packed = packSequences(group);
    const read = tf.tidy(() => {
      const hidden = targetHiddenStates(policy, packed);
      const values = valueFunction.values(packed, hidden);
      const old = logProbabilitiesOfTargets(policy, hidden, packed.targets, temperature);
      const plain = temperature === 1 ? old : logProbabilitiesOfTargets(policy, hidden, packed.targets);
      return [old, plain, values] as const;
    });
    const fromReference = tf.tidy(() =>
      logProbabilitiesOfTargets(reference, targetHiddenStates(reference, packed), packed.targets, temperature),
    );
    const [old, plain, values, ofReference] = await Promise.all(
      [...read, fromReference].map((tensor) => tensor.data()),
    );
    tf.dispose([...read, fromReference]);
    untempered.set(plain, at);
    result.oldLogProbabilities.set(old, at);
    result.oldValues.set(values, at);
    result.referenceLogProbabilities.set(ofReference, at);
    at += packed.targets.length;
    await yieldToEventLoop();
  }
  let logProbabilityMismatch = 0;
  for (let i = 0; i < tokens; i++) {
    logProbabilityMismatch = Math.max(logProbabilityMismatch, Math.abs(sampled[i] - untempered[i]));
  }
  return { ...result, logProbabilityMismatch };
}
