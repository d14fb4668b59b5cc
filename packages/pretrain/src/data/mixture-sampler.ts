/**
 * Which piece of which document comes next. Domains take turns by token deficit, so every prefix of the stream has the
 * shares asked for to within one piece a domain. Inside a domain each pass visits all pieces in a fresh pseudo-random
 * order; a document of weight w is taken in a fraction w / maximum weight of the passes, evenly spaced.
 * All randomness is a hash of seed and position: the state is a few counters a domain, a draw costs about 0.3 µs.
 */
import { PretrainError } from '../errors';
import { decayProgressAt } from '../schedule/learning-rate';
import type { PretrainStage } from '../stage/stage';
import { annealedAt } from './annealed';
import type { TokenDocumentSource } from './document-source';
import { collectDomainPieces, inputLength, type DomainPieces, type Piece } from './domain-pieces';
import { deriveKeys, mix32, PseudoRandomPermutation } from './pseudo-random-permutation';

export interface DomainSamplerState {
  /** Passes begun, minus one. */
  pass: number;
  /** Next position in this pass's order. */
  position: number;
  /** Tokens this domain is owed (negative: has had too many). */
  credit: number;
  tokens: number;
  documents: number;
}

export type MixtureSamplerState = Record<string, DomainSamplerState>;

export interface SampledPiece extends Piece {
  /** Index into the stage's mixture. */
  domain: number;
}

export interface MixtureSamplerOptions {
  source: TokenDocumentSource;
  stage: PretrainStage;
  seed: number;
  prependBeginToken: boolean;
}

export class MixtureSampler {
  readonly domainNames: readonly string[];
  private readonly streams: DomainStream[];
  private readonly options: MixtureSamplerOptions;

  /** Throws what `collectDomainPieces` throws, and TOO_MANY_EPOCHS. */
  constructor(options: MixtureSamplerOptions) {
    const { source, stage, prependBeginToken } = options;
    const domains = collectDomainPieces(source, stage, prependBeginToken);
    this.options = options;
    this.streams = domains.map((pieces) => new DomainStream(pieces, options));
    this.domainNames = domains.map(({ name }) => name);
    domains.forEach((pieces) => checkEpochs(pieces, stage));
  }

  /** The next piece, `progress` being how far the learning rate has fallen (0 to 1). */
  next(progress: number): SampledPiece {
    const shares = sharesAt(this.options.stage, progress);
    const credits = this.streams.map(({ state }, i) => (shares[i] > 0 ? state.credit : Number.NEGATIVE_INFINITY));
    const domain = credits.indexOf(Math.max(...credits));
    const piece = this.streams[domain].next(progress);
    this.streams.forEach(({ state }, i) => (state.credit += shares[i] * piece.length));
    const { state } = this.streams[domain];
    state.credit -= piece.length;
    state.tokens += piece.length;
    state.documents += piece.start === 0 ? 1 : 0;
    return { domain, ...piece };
  }

  get state(): MixtureSamplerState {
    return Object.fromEntries(this.streams.map(({ state }, i) => [this.domainNames[i], { ...state }]));
  }

  set state(state: MixtureSamplerState) {
    this.streams.forEach((stream, i) => (stream.state = { ...state[this.domainNames[i]] }));
  }

  /** Tokens of a domain's eligible documents, once through. */
  eligibleTokens(domain: number): number {
    return this.streams[domain].pieces.tokenCount;
  }
}

/** The stage's shares, normalised to sum 1, in the mixture's order. */
export function sharesAt(stage: PretrainStage, progress: number): number[] {
  const shares = Object.values(stage.mixture).map(({ share }) => annealedAt(share, progress));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

class DomainStream {
  state: DomainSamplerState = { pass: 0, position: 0, credit: 0, tokens: 0, documents: 0 };
  private order?: { pass: number; permutation: PseudoRandomPermutation };
  private readonly phaseKey: number;

  constructor(
    readonly pieces: DomainPieces,
    private readonly options: MixtureSamplerOptions,
  ) {
    this.phaseKey = deriveKeys(`${options.seed}/phase/${pieces.name}`, 1)[0]!;
  }

  next(progress: number): Piece {
    const { pieces, state } = this;
    const topFraction = this.options.stage.mixture[pieces.name].topFraction ?? 1;
    const maximumRank = Math.max(1, Math.round(annealedAt(topFraction, progress) * pieces.documents.length));
    for (;;) {
      if (state.position === pieces.pieceCount) {
        state.pass++;
        state.position = 0;
      }
      const number = this.permutation().at(state.position++);
      const entry = entryOfPiece(pieces.cumulativePieces, number);
      if (pieces.qualityRanks !== undefined && pieces.qualityRanks[entry] >= maximumRank) continue;
      if (!this.takenInThisPass(entry, number)) continue;
      return this.piece(entry, number);
    }
  }

  /** Systematic sampling: taken in a fraction `rate` of the passes, evenly spaced, with a random phase. */
  private takenInThisPass(entry: number, number: number): boolean {
    const { pieces, options, state } = this;
    if (!options.stage.documentWeights) return true;
    const rate = options.source.documentWeight(pieces.documents[entry]) / pieces.maximumWeight;
    if (rate === 1) return true;
    const phase = mix32(mix32(number ^ this.phaseKey) + this.phaseKey) / 2 ** 32;
    return Math.floor((state.pass + 1) * rate + phase) > Math.floor(state.pass * rate + phase);
  }

  private piece(entry: number, number: number): Piece {
    const { source, stage, prependBeginToken } = this.options;
    const document = this.pieces.documents[entry];
    const start = (number - this.pieces.cumulativePieces[entry]) * stage.contextLength;
    const inputs = inputLength(source.documentLength(document), prependBeginToken);
    return { document, start, length: Math.min(stage.contextLength, inputs - start) };
  }

  private permutation(): PseudoRandomPermutation {
    const { pass } = this.state;
    if (this.order?.pass !== pass) {
      const label = `${this.options.seed}/order/${this.pieces.name}/${pass}`;
      this.order = { pass, permutation: new PseudoRandomPermutation(this.pieces.pieceCount, label) };
    }
    return this.order.permutation;
  }
}

/** The largest entry whose first piece is at or before `number`. */
function entryOfPiece(cumulativePieces: Uint32Array, number: number): number {
  let low = 0;
  let high = cumulativePieces.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (cumulativePieces[middle] <= number) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Refuses a stage that would repeat a domain's best documents more often than `maximumEpochs`. */
function checkEpochs(pieces: DomainPieces, stage: PretrainStage): void {
  const { maximumEpochs, topFraction = 1 } = stage.mixture[pieces.name];
  if (maximumEpochs === undefined) return;
  const slot = Object.keys(stage.mixture).indexOf(pieces.name);
  let epochs = 0;
  for (let step = 0; step < stage.steps; step++) {
    const progress = decayProgressAt(stage.learningRate, step, stage.steps);
    const documents = Math.max(1, Math.round(annealedAt(topFraction, progress) * pieces.documents.length));
    const available = pieces.tokensByRank?.[documents] ?? pieces.tokenCount;
    epochs += (sharesAt(stage, progress)[slot] * stage.tokensPerStep) / available;
  }
  if (epochs <= maximumEpochs) return;
  throw new PretrainError(
    'TOO_MANY_EPOCHS',
    `mixture.${pieces.name}: the stage would read its eligible documents ${epochs.toFixed(2)} times, ` +
      `more than maximumEpochs ${maximumEpochs}.`,
    { value: epochs, remedy: 'Lower its share, shorten the stage, widen topFraction or add documents.' },
  );
}
