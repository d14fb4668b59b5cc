/** From rewards of answers to advantages of tokens: KL penalty a token, the reward on the last one, GAE, whitening. */
import { generalizedAdvantageEstimation, whiten } from '../losses/generalized-advantage-estimation.js';
import type { RolloutTokens } from './evaluate-rollouts.js';

export interface Advantages {
  /** [R]; whitened where asked for. */
  advantages: Float64Array;
  /** [R]; what the value function learns: advantage before whitening + old value. */
  returns: Float64Array;
  /** Mean over answers of Σ log(policy / reference): a sampled KL (k1), nats an answer. */
  referenceKl: number;
}

export interface AdvantageOptions {
  klCoefficient: number;
  gamma: number;
  lambda: number;
  whitenAdvantages: boolean;
}

/** `rewards` [samples]. The penalty is −klCoefficient · log(policy / reference) a token (arXiv 2203.02155, section 3.5). */
export function computeAdvantages(
  rewards: ArrayLike<number>,
  { offsets, oldLogProbabilities, referenceLogProbabilities, oldValues }: RolloutTokens,
  { klCoefficient, gamma, lambda, whitenAdvantages }: AdvantageOptions,
): Advantages {
  let kl = 0;
  const tokenRewards = Float64Array.from(oldLogProbabilities, (logProbability, i) => {
    const difference = logProbability - referenceLogProbabilities[i];
    kl += difference;
    return -klCoefficient * difference;
  });
  for (let sample = 0; sample < rewards.length; sample++) tokenRewards[offsets[sample + 1] - 1] += rewards[sample];
  const { advantages, returns } = generalizedAdvantageEstimation({
    rewards: tokenRewards,
    values: oldValues,
    offsets,
    gamma,
    lambda,
  });
  return {
    advantages: whitenAdvantages ? whiten(advantages) : advantages,
    returns,
    referenceKl: kl / rewards.length,
  };
}
