/** What goes into and comes out of the generation engine. */
import type { ProgressEvent } from '../util/progress.js';

export interface GenerationRequest {
  /** Unique among the engine's live requests; made up when absent. */
  id?: string;
  promptTokens: ArrayLike<number>;
  /** At least 1. Prompt and new tokens together must fit the model's `maximumPositions` and the cache. */
  maximumNewTokens: number;
  /** 0 (default) is greedy. */
  temperature?: number;
  /** 0 (default) is off. */
  topK?: number;
  /** 1 (default) is off. */
  topP?: number;
  /** 0 (default) is off. */
  minP?: number;
  /** The n-th token's randomness is a function of seed and n alone. Default: drawn from the engine's own seed. */
  seed?: number;
  /** Default: the configuration's `eosTokenId`. `[]` stops at the length only. */
  stopTokens?: number[];
  /** The most probable alternatives to report for each token, 0 (default) to 20. */
  topLogProbabilities?: number;
  /** Kept for symmetry with OpenAI's API: every event carries its token's log-probability. */
  logProbabilities?: boolean;
}

export type FinishReason = 'stop' | 'length' | 'cancelled';

export interface TokenLogProbability {
  token: number;
  logProbability: number;
}

export interface GenerationEvent {
  id: string;
  /** The new token, a stop token included; -1 in the event that confirms a cancellation. */
  token: number;
  /** Of the unfiltered distribution at temperature 1. */
  logProbability: number;
  /** Descending, `topLogProbabilities` long, when asked for. */
  topLogProbabilities?: TokenLogProbability[];
  /** Set on a request's last event. */
  finishReason?: FinishReason;
}

export interface GenerationEngineOptions {
  /** Most tokens in one forward: prefill chunks and one token for each decoding sequence. */
  maximumBatchTokens: number;
  /** Tokens the key-value cache holds; rounded up to whole blocks. Memory: 2 · layers · Hkv · hd · 4 bytes a token. */
  cacheTokens: number;
  /** Tokens a cache block; default 16. */
  blockSize?: number;
  /** Most sequences decoded at once; default `maximumBatchTokens`. */
  maximumSequences?: number;
  /** Seeds the requests that bring no seed of their own; default 0. */
  seed?: number;
  /**
   * Keep full blocks of finished sequences and reuse them for prompts that begin alike; default false. Where the
   * weights change between requests (reinforcement learning), call clearPrefixCache() after each change.
   */
  prefixCache?: boolean;
  /**
   * Record decoding iterations and replay them, on backends that can (kernels' `canRecord`); default true. The tokens are the same; a recorded
   * size of batches takes some device memory until `dispose`.
   */
  captureDecoding?: boolean;
}

export interface GenerationEngineStats {
  active: number;
  waiting: number;
  totalBlocks: number;
  freeBlocks: number;
  blockSize: number;
  steps: number;
  /** Of them, those that replayed a recorded graph. */
  capturedSteps: number;
  /** Prompt tokens computed; those of a sequence that was put back count again. */
  promptTokens: number;
  generatedTokens: number;
  finishedRequests: number;
  cancelledRequests: number;
  /** Prompt tokens found in the prefix cache instead of computed. */
  cachedPromptTokens: number;
  /** Sequences put back to wait because the cache ran full; their tokens are recomputed, none is lost. */
  preemptions: number;
}

export interface TextGenerationRequest extends GenerationRequest {
  /** Generation ends once the completion's text contains one of these; needs `decode` in the options. */
  stopStrings?: string[];
}

export interface GenerateOptions {
  maximumBatchTokens?: number;
  cacheTokens?: number;
  blockSize?: number;
  maximumSequences?: number;
  seed?: number;
  prefixCache?: boolean;
  captureDecoding?: boolean;
  /** Text of completion tokens; needed for `stopStrings` and for `text` in the results. */
  decode?: (tokens: number[]) => string;
  signal?: AbortSignal;
  onEvent?: (event: GenerationEvent) => void;
  onProgress?: (event: ProgressEvent) => void;
}

export interface GenerationResult {
  id: string;
  /** The completion: a stop token that ended it is its last element. */
  tokens: number[];
  /** One a token. */
  logProbabilities: number[];
  topLogProbabilities?: TokenLogProbability[][];
  finishReason: FinishReason;
  /** Present with `decode`: the completion's text, cut before `stopString`. */
  text?: string;
  stopString?: string;
}
