/** What a set of preference pairs says about a policy; sums over pairs, so that micro-batches add up. */
import type { DirectPreferenceOutput } from '../losses/direct-preference-loss.js';

export type PreferenceMetrics = {
  loss: number;
  /** Mean of β·(log-ratio of chosen − log-ratio of rejected). */
  rewardMargin: number;
  /** Share of pairs with a positive margin; ties count half. */
  accuracy: number;
  /** Mean log-probability of a whole answer (with 'ipo': mean over its tokens). */
  chosenLogProbability: number;
  rejectedLogProbability: number;
  /** Mean of β·log(policy / reference). */
  chosenReward: number;
  rejectedReward: number;
};

export function zeroPreferenceMetrics(): PreferenceMetrics {
  return {
    loss: 0,
    rewardMargin: 0,
    accuracy: 0,
    chosenLogProbability: 0,
    rejectedLogProbability: 0,
    chosenReward: 0,
    rejectedReward: 0,
  };
}

/** Adds a micro-batch's share of the means over `pairs`. */
export function addPreferenceMetrics(
  metrics: PreferenceMetrics,
  chosen: Float64Array,
  rejected: Float64Array,
  { losses, chosenRewards, rejectedRewards }: DirectPreferenceOutput,
  pairs: number,
): void {
  for (let i = 0; i < losses.length; i++) {
    const margin = chosenRewards[i] - rejectedRewards[i];
    metrics.loss += losses[i] / pairs;
    metrics.rewardMargin += margin / pairs;
    metrics.accuracy += (margin > 0 ? 1 : margin === 0 ? 0.5 : 0) / pairs;
    metrics.chosenLogProbability += chosen[i] / pairs;
    metrics.rejectedLogProbability += rejected[i] / pairs;
    metrics.chosenReward += chosenRewards[i] / pairs;
    metrics.rejectedReward += rejectedRewards[i] / pairs;
  }
}
