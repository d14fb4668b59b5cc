import type { ChatTokenizer } from './data/chat-tokenizer.js';
import type {
  BuildPreferencePairsArguments,
  DirectPreferenceOptimizationArguments,
  DirectPreferenceOptimizationResult,
  PreferencePairs,
} from './dpo/types.js';
import type { ProximalPolicyOptimizationArguments, ProximalPolicyOptimizationResult } from './ppo/types.js';
import type { RewardFunction, Verifier } from './rewards/types.js';
import { pending } from './run/pending.js';
import type { SupervisedFineTuningArguments, SupervisedFineTuningResult } from './sft/types.js';

export { PosttrainError, type PosttrainErrorCode, type PosttrainErrorOptions } from './errors.js';
export { readConversations, readPreferences, readPrompts } from './data/readers.js';
export type { ChatMessage, Conversation, Preference, Prompt } from './data/records.js';
export type { ChatTokenizer, EncodedConversation } from './data/chat-tokenizer.js';
export type { Completion, RewardBreakdown, RewardFunction, Verifier } from './rewards/types.js';
export type { MetricsEvent, PosttrainRunArguments, ProgressEvent } from './run/run-arguments.js';
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
/** Compares the number after `####` with the prompt's `answer` field. */
export function numericAnswerVerifier(_options?: { field?: string; lastNumberFallback?: boolean }): Verifier {
  return pending('numericAnswerVerifier');
}
/** 1 (or `right`) for a verified answer, 0 (or `wrong`) otherwise. */
export function verifierReward(_verifier: Verifier, _options?: { right?: number; wrong?: number }): RewardFunction {
  return pending('verifierReward');
}
/** 1 where the completion's text matches, else 0. */
export function formatReward(_pattern: RegExp): RewardFunction {
  return pending('formatReward');
}
/** 0 up to `freeTokens`, then falling linearly to −1 at `maximumTokens`. */
export function lengthPenalty(_options: { freeTokens: number; maximumTokens: number }): RewardFunction {
  return pending('lengthPenalty');
}
/** Weighted sum; each part's mean becomes a metric. */
export function composeRewards(_parts: Record<string, { reward: RewardFunction; weight: number }>): RewardFunction {
  return pending('composeRewards');
}
