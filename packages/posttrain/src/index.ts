/** Supervised fine-tuning, direct preference optimization and online PPO with verifiable rewards. */
export { PosttrainError, type PosttrainErrorCode, type PosttrainErrorOptions } from './errors.js';

export {
  createChatTokenizer,
  type ChatTokenizer,
  type ChatTokenizerParts,
  type EncodedConversation,
} from './data/chat-tokenizer.js';
export { readConversations, readPreferences, readPrompts } from './data/readers.js';
export type { ChatMessage, Conversation, Preference, Prompt } from './data/records.js';
export { writeJsonLines } from './data/write-json-lines.js';

export { extractNumericAnswer, numericAnswerVerifier, type NumericAnswerOptions } from './rewards/numeric-answer.js';
export { composeRewards, formatReward, lengthPenalty, verifierReward } from './rewards/rewards.js';
export type { Completion, RewardBreakdown, RewardFunction, Verifier } from './rewards/types.js';

export type { MetricsEvent, PosttrainRunArguments } from './run/run-arguments.js';
export {
  directPreferenceOptimizationStageSchema,
  proximalPolicyOptimizationStageSchema,
  supervisedFineTuningStageSchema,
  type DirectPreferenceOptimizationStage,
  type ProximalPolicyOptimizationStage,
  type ResolvedDirectPreferenceOptimizationStage,
  type ResolvedProximalPolicyOptimizationStage,
  type ResolvedSupervisedFineTuningStage,
  type SupervisedFineTuningStage,
} from './run/stage-schemas.js';

export {
  runSupervisedFineTuning,
  type SupervisedFineTuningArguments,
  type SupervisedFineTuningResult,
} from './sft/run-supervised-fine-tuning.js';

export {
  buildPreferencePairs,
  type BuildPreferencePairsArguments,
  type PreferencePairs,
} from './dpo/build-preference-pairs.js';
export type { PreferenceMetrics } from './dpo/preference-metrics.js';
export {
  runDirectPreferenceOptimization,
  type DirectPreferenceOptimizationArguments,
  type DirectPreferenceOptimizationResult,
} from './dpo/run-direct-preference-optimization.js';

export { computeAdvantages, type AdvantageOptions, type Advantages } from './ppo/compute-advantages.js';
export type { ProximalPolicyMetrics, ProximalPolicySteps } from './ppo/iteration.js';
export type { RolloutTokens } from './ppo/evaluate-rollouts.js';
export type { ProximalPolicyLoss } from './ppo/policy-update.js';
export {
  runProximalPolicyOptimization,
  type ProximalPolicyOptimizationArguments,
  type ProximalPolicyOptimizationResult,
} from './ppo/run-proximal-policy-optimization.js';
export { scoreRollouts, type ScoredRollouts, type ScoreOptions } from './ppo/score-rollouts.js';
export { rollout, type RolloutOptions, type RolloutSample } from './rollout/rollout.js';

export {
  directPreferenceLoss,
  type DirectPreferenceInput,
  type DirectPreferenceOptions,
  type DirectPreferenceOutput,
} from './losses/direct-preference-loss.js';
export {
  generalizedAdvantageEstimation,
  whiten,
  type GaeInput,
  type GaeOutput,
} from './losses/generalized-advantage-estimation.js';
export { nextKlCoefficient } from './losses/kl-controller.js';
export {
  proximalPolicyLoss,
  type ProximalPolicyInput,
  type ProximalPolicyOptions,
  type ProximalPolicyOutput,
} from './losses/proximal-policy-loss.js';
