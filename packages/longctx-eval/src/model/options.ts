/** Options of the two adapters. */

import type { Prompt } from './types.js';

/** The part of @xgen-small/model-core's `CausalLanguageModel` that is used. */
export interface LocalCausalModel {
  readonly config: {
    readonly vocabularySize: number;
    readonly maximumPositions: number;
    readonly bosTokenId?: number;
    readonly eosTokenId?: number | number[];
    readonly rope?: unknown;
  };
  logProbabilities(
    batch: { tokens: Int32Array; positions: Int32Array; cumulativeLengths: Int32Array },
    targets: Int32Array,
  ): { data(): Promise<ArrayLike<number>>; dispose(): void };
}

/** The part of @xgen-small/tokenizer's `Tokenizer` that is used. */
export interface TextTokenizer {
  encode(text: string): ArrayLike<number>;
  decode(tokens: ArrayLike<number>, options?: { skipSpecial?: boolean }): string;
}

/** The part of @xgen-small/tokenizer's `ChatTemplate` that is used. */
export interface ChatRenderer {
  /** The conversation with the beginning of an assistant turn; special tokens typed inside a message stay text. */
  encodePrompt(messages: readonly ChatMessageLike[]): ArrayLike<number>;
  /** Ids that end an assistant turn. */
  readonly endOfTurnTokens?: readonly number[];
}

interface ChatMessageLike {
  role: string;
  content: string;
}

export interface LocalModelOptions {
  /** Needed for prompts that are messages. */
  chatTemplate?: ChatRenderer;
  /** Default 'local'. */
  name?: string;
  /** Tokens that end a completion. Default: the configuration's `eosTokenId` and the chat template's `endOfTurnTokens`. */
  stopTokens?: readonly number[];
  /** Put the configuration's `bosTokenId` before a plain-text prompt. Default false. */
  addBosToken?: boolean;
  /** Most tokens of one forward. Default 512. */
  maximumBatchTokens?: number;
  /** Tokens the key-value cache holds. Default: 8 times the longest prompt and answer of a call, but at most 65,536 or one. */
  cacheTokens?: number;
}

export interface OpenAiEndpointOptions {
  /** With the version, as clients have it: `http://127.0.0.1:8080/v1`. */
  baseUrl: string;
  model: string;
  apiKey?: string;
  /** Default: the model's name. */
  name?: string;
  /** Requests in flight at once. Default 8. */
  concurrency?: number;
  /** Milliseconds until a request without an answer counts as failed. Default 120,000. */
  timeout?: number;
  /** Further attempts after a lost connection, a time-out, 408, 409, 429 or 5xx. Default 4. */
  retries?: number;
  /** Milliseconds before the first retry; doubles each time, with jitter, and gives way to Retry-After. Default 500. */
  retryDelay?: number;
  /** Further fields of each request's body (`reasoning_effort`, …). */
  extraBody?: Readonly<Record<string, unknown>>;
  headers?: Readonly<Record<string, string>>;
  /** Name of the field that limits new tokens in a chat request. Default `max_tokens`. */
  chatLimitField?: 'max_tokens' | 'max_completion_tokens';
  /** Send `top_k` and `min_p` (vLLM, llama.cpp and @xgen-small/serve take them, OpenAI does not). Default false. */
  extendedSampling?: boolean;
  /** Tokens of a prompt, where the caller has the model's tokenizer: evaluations by length need it. */
  countTokens?: (prompt: Prompt) => number;
  /** Default: the global fetch. */
  fetch?: typeof fetch;
}
