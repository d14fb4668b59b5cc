/** Unigram and bigram baselines on the tokens a model is evaluated on. */

export type TokenArray = Uint16Array | Uint32Array | Int32Array | readonly number[];

/** Tokens of one domain, end to end. */
export interface TokenStream {
  tokens: TokenArray;
  /**
   * [documents + 1], first 0, last the number of tokens: where the model saw a new context begin. The first token of
   * each is not scored, as a model scores none there. Default: one document.
   */
  documentOffsets?: ArrayLike<number | bigint>;
}

export interface NgramBaselinesOptions {
  vocabularySize: number;
  /** Training tokens by domain. */
  train: Readonly<Record<string, TokenStream>>;
  /** Held-out tokens by domain. One that `train` names too is also predicted by that domain's own counts. */
  heldOut: Readonly<Record<string, TokenStream>>;
  /** Share of each training stream that tunes the weights instead of being counted. Default 0.05. */
  tuningShare?: number;
  signal?: AbortSignal;
}

export interface NgramCrossEntropies {
  /** Nats a token. */
  unigram: number;
  bigram: number;
}

export interface NgramBaseline extends NgramCrossEntropies {
  /** Scored tokens. */
  tokens: number;
  /** Counts of the domain itself; absent where it has no training tokens. */
  own?: NgramCrossEntropies;
  /** Counts of all training tokens. */
  pooled: NgramCrossEntropies;
}

export interface NgramBaselinesResult {
  /** ln(vocabularySize): what a model that knows nothing scores. */
  uniform: number;
  /** By held-out domain; `unigram` and `bigram` are the lower, and so the stronger, of own and pooled. */
  domains: Record<string, NgramBaseline>;
  trainTokens: number;
  settings: Record<string, unknown>;
}
