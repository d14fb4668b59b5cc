/**
 * What the sampler reads from: numbered documents of token ids with a domain, a quality and a weight each. Token shards,
 * in-memory documents and unions of both are sources. Columns are read once per document at construction of a sampler,
 * tokens on demand, so a source needs no more memory than its columns.
 */
export interface TokenDocumentSource {
  /** Names that `documentDomain` indexes. */
  readonly domains: readonly string[];
  readonly documentCount: number;
  /** Every token id is below this. */
  readonly vocabularySize: number;
  /** Hex digest of the content. Equal digests mean equal documents; a resumed run compares it. */
  readonly fingerprint: string;
  /** Tokens of the document, its `<|endoftext|>` included. */
  documentLength(document: number): number;
  documentDomain(document: number): number;
  /** Higher is better; only its order inside a domain matters. */
  documentQuality(document: number): number;
  /** How often the document comes relative to the others of its domain; 0 leaves it out. */
  documentWeight(document: number): number;
  /** Tokens [start, end) of the document. The result is only read, and only until the next call. */
  readTokens(document: number, start: number, end: number): TokenArray | Promise<TokenArray>;
  /** 1 where a token is a target for `lossOn: 'markedTokens'`; absent where a source marks nothing. */
  readLossMask?(document: number, start: number, end: number): Uint8Array | Promise<Uint8Array>;
}

export type TokenArray = Uint16Array | Uint32Array | Int32Array;
