/**
 * The eligible documents of one domain, seen as pieces of at most `contextLength` tokens: the unit that is sampled, so that
 * the pieces of a long document spread over an epoch instead of filling one batch. Numbered pieces, found by binary search:
 * 8 bytes of memory a document, 8 more where quality ranks are needed.
 */
import { PretrainError } from '../errors';
import type { MixtureDomain, PretrainStage } from '../stage/stage';
import type { TokenDocumentSource } from './document-source';

/** Input tokens [start, start + length) of a document; each of them predicts its successor. */
export interface Piece {
  document: number;
  start: number;
  length: number;
}

export interface DomainPieces {
  readonly name: string;
  /** Document numbers, ascending. */
  readonly documents: Uint32Array;
  /** [documents + 1]: pieces before each document. */
  readonly cumulativePieces: Uint32Array;
  readonly pieceCount: number;
  /** Input tokens of all eligible documents. */
  readonly tokenCount: number;
  readonly maximumWeight: number;
  readonly longestInput: number;
  /** Rank by quality of each entry of `documents`, 0 the best; only when asked for. */
  readonly qualityRanks?: Uint32Array;
  /** [documents + 1]: input tokens of the best-ranked so many documents; with `qualityRanks`. */
  readonly tokensByRank?: Float64Array;
}

/** What the pseudo-random order takes. */
const maximumPieces = 2 ** 31;

/** Tokens that a document gives as inputs: all of it after a begin token, else all but the last. */
export function inputLength(documentTokens: number, prependBeginToken: boolean): number {
  return prependBeginToken ? documentTokens : Math.max(0, documentTokens - 1);
}

/**
 * The eligible documents of every domain in the stage's mixture, in the mixture's order; two passes over the columns.
 * Throws UNKNOWN_DOMAIN, EMPTY_DOMAIN (with what was left out and why) and CONTEXT_TOO_LONG.
 */
export function collectDomainPieces(
  source: TokenDocumentSource,
  stage: PretrainStage,
  prependBeginToken: boolean,
): DomainPieces[] {
  const names = Object.keys(stage.mixture);
  const unknown = names.filter((name) => !source.domains.includes(name));
  if (unknown.length > 0) {
    throw new PretrainError('UNKNOWN_DOMAIN', `mixture: the data has no domain ${quoted(unknown)}.`, {
      value: unknown,
      remedy: `Its domains are ${quoted(source.domains)}; rename the entry or remove it.`,
    });
  }
  const slotOfDomain = source.domains.map((name) => names.indexOf(name));
  const counters = names.map((name) => new EligibilityCounter(stage, name, prependBeginToken));
  const eligible = new Uint8Array(source.documentCount);
  for (let document = 0; document < source.documentCount; document++) {
    const counter = counters[slotOfDomain[source.documentDomain(document)]];
    if (counter?.accepts(source, document) === true) eligible[document] = 1;
  }
  const collected = counters.map((counter) => counter.allocate());
  eligible.forEach((yes, document) => {
    if (yes === 1) collected[slotOfDomain[source.documentDomain(document)]].push(source, document);
  });
  const domains = collected.map((pieces) => pieces.finish(source));
  const longest = Math.max(...domains.map((domain) => domain.longestInput));
  // Documents made to fill a context end with a whole sentence: a thousandth less is no mistake in the recipe.
  if (stage.contextLength - Math.floor(stage.contextLength / 1024) > longest) {
    throw new PretrainError(
      'CONTEXT_TOO_LONG',
      `contextLength: ${stage.contextLength} exceeds the longest eligible document (${longest} tokens).`,
      { value: stage.contextLength, remedy: 'Shorten the context or add longer documents.' },
    );
  }
  return domains;
}

/** Counts a domain's documents and why some are left out. */
class EligibilityCounter {
  private readonly minimumTokens: number;
  private readonly minimumQuality: number;
  private seen = 0;
  private kept = 0;
  private short = 0;
  private poor = 0;

  constructor(
    private readonly stage: PretrainStage,
    private readonly name: string,
    private readonly prependBeginToken: boolean,
  ) {
    const domain: MixtureDomain = stage.mixture[name];
    this.minimumTokens = domain.minimumDocumentTokens ?? stage.minimumDocumentTokens;
    this.minimumQuality = domain.minimumQuality ?? Number.NEGATIVE_INFINITY;
  }

  accepts(source: TokenDocumentSource, document: number): boolean {
    this.seen++;
    const length = source.documentLength(document);
    if (length < this.minimumTokens || inputLength(length, this.prependBeginToken) < 1) {
      this.short++;
      return false;
    }
    if (source.documentQuality(document) < this.minimumQuality) {
      this.poor++;
      return false;
    }
    if (this.stage.documentWeights && !(source.documentWeight(document) > 0)) return false;
    this.kept++;
    return true;
  }

  allocate(): PieceCollector {
    if (this.kept > 0) return new PieceCollector(this.name, this.stage, this.prependBeginToken, this.kept);
    const { short, poor } = this;
    throw new PretrainError(
      'EMPTY_DOMAIN',
      `mixture.${this.name}: none of its ${this.seen} documents is eligible (${short} are shorter than ` +
        `${this.minimumTokens} tokens, ${poor} score below ${this.minimumQuality}, ${this.seen - short - poor} have weight 0).`,
      { value: this.name, remedy: 'Lower minimumDocumentTokens or minimumQuality, or remove the domain.' },
    );
  }
}

class PieceCollector {
  private readonly documents: Uint32Array;
  private readonly cumulativePieces: Uint32Array;
  private size = 0;
  private tokenCount = 0;
  private maximumWeight = 0;
  private longestInput = 0;

  constructor(
    private readonly name: string,
    private readonly stage: PretrainStage,
    private readonly prependBeginToken: boolean,
    capacity: number,
  ) {
    this.documents = new Uint32Array(capacity);
    this.cumulativePieces = new Uint32Array(capacity + 1);
  }

  push(source: TokenDocumentSource, document: number): void {
    const length = inputLength(source.documentLength(document), this.prependBeginToken);
    this.documents[this.size] = document;
    const pieces = this.cumulativePieces[this.size] + Math.ceil(length / this.stage.contextLength);
    if (pieces > maximumPieces) {
      throw new PretrainError('INVALID_DATA', `Domain ${this.name} has more than ${maximumPieces} pieces.`, {
        value: this.name,
        remedy: 'Split the domain in two, or raise contextLength.',
      });
    }
    this.cumulativePieces[++this.size] = pieces;
    this.tokenCount += length;
    this.longestInput = Math.max(this.longestInput, length);
    this.maximumWeight = Math.max(this.maximumWeight, this.stage.documentWeights ? source.documentWeight(document) : 1);
  }

  finish(source: TokenDocumentSource): DomainPieces {
    const { name, documents, cumulativePieces, tokenCount, maximumWeight, longestInput } = this;
    const pieceCount = cumulativePieces[documents.length];
    const pieces = { name, documents, cumulativePieces, pieceCount, tokenCount, maximumWeight, longestInput };
    return this.stage.mixture[name].topFraction === undefined
      ? pieces
      : { ...pieces, ...rankByQuality(source, documents, this.prependBeginToken) };
  }
}

function rankByQuality(
  source: TokenDocumentSource,
  documents: Uint32Array,
  prependBeginToken: boolean,
): { qualityRanks: Uint32Array; tokensByRank: Float64Array } {
  const quality = Float32Array.from(documents, (document) => source.documentQuality(document));
  const order = Uint32Array.from(documents, (_, index) => index);
  order.sort((a, b) => quality[b] - quality[a] || a - b);
  const qualityRanks = new Uint32Array(documents.length);
  const tokensByRank = new Float64Array(documents.length + 1);
  order.forEach((entry, rank) => {
    qualityRanks[entry] = rank;
    tokensByRank[rank + 1] =
      tokensByRank[rank] + inputLength(source.documentLength(documents[entry]), prependBeginToken);
  });
  return { qualityRanks, tokensByRank };
}

function quoted(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(', ');
}
