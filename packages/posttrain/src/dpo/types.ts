import type { CausalLanguageModel } from '@xgen-small/model-core';
import type { ProgressEvent } from '@xgen-small/pretrain';
import type { ChatTokenizer } from '../data/chat-tokenizer.js';
import type { Preference, Prompt } from '../data/records.js';
import type { Verifier } from '../rewards/types.js';
import type { PosttrainRunArguments } from '../run/run-arguments.js';
import type { DirectPreferenceOptimizationStage } from '../run/stage-schemas.js';

export interface PreferenceMetrics {
  loss: number;
  /** Mean of β·(log-ratio of chosen − log-ratio of rejected). */
  rewardMargin: number;
  /** Share of pairs with a positive margin. */
  accuracy: number;
  /** Mean log-probability of a whole answer. */
  chosenLogProbability: number;
  rejectedLogProbability: number;
  chosenReward: number;
  rejectedReward: number;
}

export interface DirectPreferenceOptimizationArguments extends PosttrainRunArguments<DirectPreferenceOptimizationStage> {
  preferences: Iterable<Preference> | AsyncIterable<Preference>;
  heldOut?: Iterable<Preference> | AsyncIterable<Preference>;
}

export interface DirectPreferenceOptimizationResult {
  modelFolder: string;
  steps: number;
  pairs: { used: number; dropped: number };
  final: PreferenceMetrics;
  heldOut?: PreferenceMetrics;
}

export interface BuildPreferencePairsArguments {
  model: CausalLanguageModel;
  tokenizer: ChatTokenizer;
  prompts: Iterable<Prompt> | AsyncIterable<Prompt>;
  verifier: Verifier;
  seed: number;
  samplesPerPrompt: number;
  maximumNewTokens: number;
  /** Default 1. */
  temperature?: number;
  /** Most pairs of one prompt; default 1. */
  pairsPerPrompt?: number;
  /** The answer to use as chosen where no sample is right: a field of the prompt, or a function. Default: none, such prompts give no pair. */
  referenceSolution?: string | ((prompt: Prompt) => string | undefined);
  /** Prompts sampled at once; default 32. */
  promptsPerBatch?: number;
  /** Stop after this many pairs. */
  maximumPairs?: number;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

export interface PreferencePairs {
  pairs: Preference[];
  statistics: {
    prompts: number;
    samples: number;
    rightSamples: number;
    /** Wrong samples that were cut off at `maximumNewTokens` (never used as a rejected answer). */
    truncatedSamples: number;
    /** Prompts without a pair: every sample right, or no right answer at hand. */
    promptsAllRight: number;
    promptsAllWrong: number;
    referenceSolutionsUsed: number;
  };
}
