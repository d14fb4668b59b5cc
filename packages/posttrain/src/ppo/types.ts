import type { Prompt } from '../data/records.js';
import type { Completion, RewardFunction } from '../rewards/types.js';
import type { PosttrainRunArguments } from '../run/run-arguments.js';
import type { ProximalPolicyOptimizationStage } from '../run/stage-schemas.js';

/** One sampled answer, in tokens. */
export interface RolloutSample {
  prompt: Prompt;
  promptTokens: Int32Array;
  /** The end of turn included, where it was reached. */
  completionTokens: Int32Array;
  /** Of each completion token, as sampled (temperature 1, unfiltered). */
  logProbabilities: Float32Array;
  completion: Completion;
}

export interface ScoredRollouts {
  /** One a sample, after the truncation penalty and the clip. */
  rewards: Float64Array;
  /** Means over the samples of the parts that the reward function reported. */
  partMeans: Record<string, number>;
}

/** Everything a token of the update needs; all arrays [R], R = completion tokens of all samples, end to end. */
export interface RolloutTokens {
  /** [samples + 1] */
  offsets: Int32Array;
  /** Of the policy that sampled, from the trainer's forward pass. */
  oldLogProbabilities: Float32Array;
  referenceLogProbabilities: Float32Array;
  oldValues: Float32Array;
}

export interface Advantages {
  /** [R]; whitened where the stage says so. */
  advantages: Float32Array;
  /** [R]; what the value head learns: advantage (before whitening) + old value. */
  returns: Float32Array;
  /** Mean over samples of the sum of log(policy / reference). */
  referenceKl: number;
}

export interface ProximalPolicyOptimizationMetrics {
  reward: number;
  rewardStandardDeviation: number;
  /** Mean KL a completion to the reference (k1 estimate), nats. */
  referenceKl: number;
  klCoefficient: number;
  /** Monte-Carlo estimate, nats a token. */
  entropy: number;
  policyLoss: number;
  valueLoss: number;
  explainedVariance: number;
  approximateKl: number;
  clipFraction: number;
  ratioMaximum: number;
  gradientNorm: number;
  updateEpochs: number;
  completionTokens: number;
  truncatedShare: number;
  /** Largest |rollout − trainer| log-probability of a sampled token. */
  logProbabilityMismatch: number;
  learningRate: number;
}

export interface ProximalPolicyOptimizationArguments extends PosttrainRunArguments<ProximalPolicyOptimizationStage> {
  prompts: Iterable<Prompt> | AsyncIterable<Prompt>;
  reward: RewardFunction;
}

export interface ProximalPolicyOptimizationResult {
  modelFolder: string;
  iterations: number;
  prompts: number;
  first: ProximalPolicyOptimizationMetrics;
  final: ProximalPolicyOptimizationMetrics;
}
