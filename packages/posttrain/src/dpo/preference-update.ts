/** DPO's differentiable loss on a micro-batch of pairs, and an update over several. */
import * as tf from '@tensorflow/tfjs-core';
import type { CausalLanguageModel } from '@xgen-small/model-core';
import { accumulateGradients } from '@xgen-small/pretrain';
import { directPreferenceLoss } from '../losses/direct-preference-loss.js';
import { hostLoss } from '../model/host-loss.js';
import { groupByTokens } from '../model/packed-sequences.js';
import { logProbabilitiesOfTargets, targetHiddenStates } from '../model/target-log-probabilities.js';
import type { OptimizerGroup } from '../run/optimizer-group.js';
import type { ResolvedDirectPreferenceOptimizationStage } from '../run/stage-schemas.js';
import { addPreferenceMetrics, zeroPreferenceMetrics, type PreferenceMetrics } from './preference-metrics.js';
import { pairTokens, type PreferencePair } from './preference-sequences.js';
import { packPairs, sumBySequence } from './reference-log-probabilities.js';

/** A pair with the reference's log-probabilities of its answers (sums over tokens). */
export interface ReferencedPair extends PreferencePair {
  referenceChosen: number;
  referenceRejected: number;
}

export type PreferenceLossOptions = Pick<
  ResolvedDirectPreferenceOptimizationStage,
  'beta' | 'loss' | 'labelSmoothing' | 'referenceFree' | 'chosenLikelihoodWeight' | 'recompute' | 'microBatchTokens'
>;

/**
 * The pairs' share of the mean loss over `totalPairs`; differentiable. Adds their share to `metrics`.
 */
export function preferenceLoss(
  model: CausalLanguageModel,
  pairs: readonly ReferencedPair[],
  totalPairs: number,
  options: PreferenceLossOptions,
  metrics: PreferenceMetrics = zeroPreferenceMetrics(),
): tf.Scalar {
  const packed = packPairs(pairs);
  const { offsets } = packed;
  const length = (sequence: number): number => offsets[sequence + 1] - offsets[sequence];
  // IPO compares means a token: sums would make the target margin 1/(2β) depend on the answers' lengths.
  const divisor = (sequence: number): number => (options.loss === 'ipo' ? length(sequence) : 1);
  return tf.tidy(() => {
    const hidden = targetHiddenStates(model, packed, options);
    const logProbabilities = logProbabilitiesOfTargets(model, hidden, packed.targets);
    return hostLoss([logProbabilities], ([values]) => {
      const sums = sumBySequence(values, packed);
      const side = (which: 0 | 1): Float64Array =>
        Float64Array.from(pairs, (_, i) => sums[2 * i + which] / divisor(2 * i + which));
      const chosen = side(0);
      const rejected = side(1);
      const output = directPreferenceLoss(
        {
          chosen,
          rejected,
          referenceChosen: pairs.map(({ referenceChosen }, i) => referenceChosen / divisor(2 * i)),
          referenceRejected: pairs.map(({ referenceRejected }, i) => referenceRejected / divisor(2 * i + 1)),
        },
        options,
      );
      const gradient = new Float32Array(values.length);
      const weight = options.chosenLikelihoodWeight;
      for (let i = 0; i < pairs.length; i++) {
        const likelihood = weight === 0 ? 0 : weight / length(2 * i);
        output.losses[i] -= likelihood * sums[2 * i];
        gradient.fill(
          (output.gradients[i] / divisor(2 * i) - likelihood) / totalPairs,
          offsets[2 * i],
          offsets[2 * i + 1],
        );
        gradient.fill(-output.gradients[i] / divisor(2 * i + 1) / totalPairs, offsets[2 * i + 1], offsets[2 * i + 2]);
      }
      addPreferenceMetrics(metrics, chosen, rejected, output, totalPairs);
      return { loss: output.losses.reduce((sum, loss) => sum + loss, 0) / totalPairs, gradients: [gradient] };
    });
  });
}

/** One update on the mean loss of the pairs. */
export async function preferenceUpdate(
  model: CausalLanguageModel,
  pairs: readonly ReferencedPair[],
  optimizer: OptimizerGroup,
  learningRate: number,
  options: PreferenceLossOptions,
): Promise<PreferenceMetrics & { gradientNorm: number; tokens: number }> {
  const groups = groupByTokens(pairs, pairTokens, options.microBatchTokens);
  const metrics = zeroPreferenceMetrics();
  const { losses, gradients } = await accumulateGradients({
    parameters: model.parameters,
    microBatches: groups.length,
    loss: (i) => preferenceLoss(model, groups[i], pairs.length, options, metrics),
  });
  const gradientNorm = optimizer.apply(gradients, learningRate);
  tf.dispose([...losses, ...gradients.values()]);
  return { ...metrics, gradientNorm, tokens: pairs.reduce((sum, pair) => sum + pairTokens(pair), 0) };
}

/** The metrics without an update: forward passes only. */
export function preferenceEvaluation(
  model: CausalLanguageModel,
  pairs: readonly ReferencedPair[],
  options: PreferenceLossOptions,
): PreferenceMetrics {
  const metrics = zeroPreferenceMetrics();
  for (const group of groupByTokens(pairs, pairTokens, options.microBatchTokens)) {
    preferenceLoss(model, group, pairs.length, options, metrics).dispose();
  }
  return metrics;
}
