/** Rewards of sampled answers: the user's function, then the stage's penalty and clip. */
import { evaluateReward } from '../rewards/rewards.js';
import type { RewardFunction } from '../rewards/types.js';
import type { RolloutSample } from '../rollout/rollout.js';

export interface ScoredRollouts {
  /** [samples]; after the truncation penalty and the clip. */
  rewards: Float64Array;
  /** Means over the samples of the parts that the reward function reported. */
  partMeans: Record<string, number>;
}

export interface ScoreOptions {
  /** Added where the answer was cut off. */
  truncationPenalty?: number;
  /** Rewards are clipped to ± this. */
  rewardClip?: number;
}

/** Asynchronous rewards run side by side. Throws PosttrainError REWARD_FAILED. */
export async function scoreRollouts(
  samples: readonly RolloutSample[],
  reward: RewardFunction,
  { truncationPenalty = 0, rewardClip = Infinity }: ScoreOptions = {},
): Promise<ScoredRollouts> {
  const scores = await Promise.all(samples.map(({ prompt, completion }) => evaluateReward(reward, prompt, completion)));
  const partMeans: Record<string, number> = {};
  for (const { parts } of scores) {
    for (const [name, value] of Object.entries(parts))
      partMeans[name] = (partMeans[name] ?? 0) + value / samples.length;
  }
  const rewards = Float64Array.from(scores, ({ reward: value }, i) => {
    const penalty = samples[i].completion.finishReason === 'length' ? truncationPenalty : 0;
    return Math.min(Math.max(value + penalty, -rewardClip), rewardClip);
  });
  return { rewards, partMeans };
}
