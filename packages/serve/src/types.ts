/** What a server is made of. Names follow OpenAI's API only on the wire. */

import type { CausalLanguageModel, GenerationEngine } from '@xgen-small/model-core';

/** The part of @xgen-small/tokenizer's `Tokenizer` that is used. */
export interface ServeTokenizer {
  encode(text: string, options?: { parseSpecialTokens?: boolean }): ArrayLike<number>;
  createDecoder(options?: { skipSpecial?: boolean }): { push(id: number): string; finish(): string };
  tokenId(token: string): number | undefined;
  tokenBytes(id: number): Uint8Array;
}

/** The part of @xgen-small/tokenizer's `ChatTemplate` that is used. */
export interface ServeChatTemplate {
  /** The conversation with the beginning of an assistant turn; special tokens typed inside a message stay text. */
  encodePrompt(messages: readonly { role: string; content: string }[]): ArrayLike<number>;
  /** Ids that end an assistant turn. */
  readonly endOfTurnTokens?: readonly number[];
}

export interface ServerLimits {
  /** Tokens of prompt and completion. Default: what the model and the cache allow. */
  contextTokens?: number;
  /** Tokens the key-value cache holds, where the server makes the engine. Default: 8 contexts, at most 65,536. */
  cacheTokens?: number;
  /** Tokens of one forward, where the server makes the engine: smaller answers /health sooner. Default 256. */
  maximumBatchTokens?: number;
  /** Choices generated at once before requests wait. Default 64. */
  maximumActive?: number;
  /** Choices that may wait; one more is refused with 429. Default 256. */
  maximumWaiting?: number;
  /** Largest `n`. Default 8. */
  maximumChoices?: number;
  /** Default 1 MiB. */
  bodyBytes?: number;
  /** Milliseconds that `close()` lets running requests take. Default 10,000. */
  shutdownGrace?: number;
}

export interface ServerOptions {
  /** Give the model, or an engine of your own (then also `contextTokens`). */
  model?: CausalLanguageModel;
  engine?: GenerationEngine;
  tokenizer: ServeTokenizer;
  /** Without one, /v1/chat/completions and the chat page answer 400 and say so. */
  chatTemplate?: ServeChatTemplate;
  modelName: string;
  /** Token ids that end a completion. Default: the configuration's `eosTokenId` and the chat template's `endOfTurnTokens`. */
  stopTokens?: readonly number[];
  limits?: ServerLimits;
  /** Required as `Authorization: Bearer …` on /v1 when given. */
  apiKey?: string;
  /** Origins allowed to call from a browser page of their own. Default none. */
  corsOrigins?: readonly string[];
  /**
   * Host names to answer to. Default: on loopback only loopback's own, against DNS rebinding; elsewhere all. Behind a proxy,
   * name the public host.
   */
  allowedHosts?: readonly string[];
  /** Serve the chat page at `/`. Default true. */
  chatPage?: boolean;
  /** One event a finished generation request, for logs. */
  onRequest?: (event: RequestEvent) => void;
}

export interface RequestEvent {
  id: string;
  method: string;
  path: string;
  status: number;
  milliseconds: number;
  promptTokens: number;
  completionTokens: number;
  /** The client went away before the end. */
  cancelled: boolean;
  error?: string;
}

export interface ListenAddress {
  host: string;
  port: number;
  /** `http://127.0.0.1:8080` */
  url: string;
}

export interface Server {
  /** Port 0 (default) takes a free one. The host defaults to 127.0.0.1. */
  listen(port?: number, host?: string): Promise<ListenAddress>;
  /** Refuses new requests, lets running ones finish within the grace, cancels the rest, frees the engine if it made it. */
  close(): Promise<void>;
  /** Handles a request without a socket: for tests, or inside another Hono application. */
  fetch(request: Request): Promise<Response>;
}
