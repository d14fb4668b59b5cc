import type { ChatTokenizer } from './data/chat-tokenizer.js';
import type {
  BuildPreferencePairsArguments,
  DirectPreferenceOptimizationArguments,
  DirectPreferenceOptimizationResult,
  PreferencePairs,
} from './dpo/types.js';
import type { ProximalPolicyOptimizationArguments, ProximalPolicyOptimizationResult } from './ppo/types.js';
import { pending } from './run/pending.js';
import type { SupervisedFineTuningArguments, SupervisedFineTuningResult } from './sft/types.js';

export { PosttrainError, type PosttrainErrorCode, type PosttrainErrorOptions } from './errors.js';
export { readConversations, readPreferences, readPrompts } from './data/readers.js';
export type { ChatMessage, Conversation, Preference, Prompt } from './data/records.js';
export type { ChatTokenizer, EncodedConversation } from './data/chat-tokenizer.js';
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
export type { SupervisedFineTuningArguments, SupervisedFineTuningResult } from './sft/types.js';
export type {
  BuildPreferencePairsArguments,
  DirectPreferenceOptimizationArguments,
  DirectPreferenceOptimizationResult,
  PreferenceMetrics,
  PreferencePairs,
} from './dpo/types.js';
export type {
  Advantages,
  ProximalPolicyOptimizationArguments,
  ProximalPolicyOptimizationMetrics,
  ProximalPolicyOptimizationResult,
  RolloutSample,
  RolloutTokens,
  ScoredRollouts,
} from './ppo/types.js';

/** Takes this project's `Tokenizer` and `ChatTemplate`. */
export function createChatTokenizer(_parts: { tokenizer: unknown; chatTemplate: unknown }): ChatTokenizer {
  return pending('createChatTokenizer');
}
export async function runSupervisedFineTuning(_: SupervisedFineTuningArguments): Promise<SupervisedFineTuningResult> {
  return pending('runSupervisedFineTuning');
}
export async function runDirectPreferenceOptimization(
  _: DirectPreferenceOptimizationArguments,
): Promise<DirectPreferenceOptimizationResult> {
  return pending('runDirectPreferenceOptimization');
}
export async function buildPreferencePairs(_: BuildPreferencePairsArguments): Promise<PreferencePairs> {
  return pending('buildPreferencePairs');
}
export async function runProximalPolicyOptimization(
  _: ProximalPolicyOptimizationArguments,
): Promise<ProximalPolicyOptimizationResult> {
  return pending('runProximalPolicyOptimization');
}
