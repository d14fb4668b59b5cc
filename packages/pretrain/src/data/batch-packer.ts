/**
 * Packs pieces of documents into micro-batches of exactly `microBatchTokens` tokens, attention staying inside each piece.
 * A pool of waiting pieces is searched for the best fit (Ding et al., arXiv 2404.10830), the oldest going first so that none
 * starves; what is left at a border is filled by cutting the piece that loses least context. No token is padded or lost.
 * The whole state is the sampler's counters and the pool, a few kilobytes of JSON.
 */
import { PretrainError } from '../errors';
import type { MicroBatch } from './micro-batch';
import { assembleMicroBatch } from './micro-batch';
import {
  MixtureSampler,
  type MixtureSamplerOptions,
  type MixtureSamplerState,
  type SampledPiece,
} from './mixture-sampler';

export interface BatchPackerState {
  sampler: MixtureSamplerState;
  /** Waiting pieces, oldest first: [domain, document, start, length]. */
  pool: [number, number, number, number][];
}

export interface PackedDomain {
  tokens: number;
  /** Documents begun; one that is repeated counts again. */
  documents: number;
  /** Tokens over those of the domain's eligible documents. */
  epochs: number;
}

export interface BatchPackerOptions extends MixtureSamplerOptions {
  /** Put before each document; required when `prependBeginToken`. */
  beginToken?: number;
}

export class BatchPacker {
  private readonly sampler: MixtureSampler;
  private pool: SampledPiece[] = [];

  constructor(private readonly options: BatchPackerOptions) {
    this.sampler = new MixtureSampler(options);
  }

  get domainNames(): readonly string[] {
    return this.sampler.domainNames;
  }

  get state(): BatchPackerState {
    return {
      sampler: this.sampler.state,
      pool: this.pool.map(({ domain, document, start, length }) => [domain, document, start, length]),
    };
  }

  set state({ sampler, pool }: BatchPackerState) {
    this.sampler.state = sampler;
    this.pool = pool.map(([domain, document, start, length]) => ({ domain, document, start, length }));
  }

  /** What was packed of each domain so far; one epoch is as many tokens as its eligible documents have. */
  packed(): Record<string, PackedDomain> {
    const waiting = this.domainNames.map((_, slot) => this.pool.filter(({ domain }) => domain === slot));
    return Object.fromEntries(
      this.domainNames.map((name, slot) => {
        const { tokens, documents } = this.sampler.state[name];
        const packedTokens = tokens - waiting[slot].reduce((sum, { length }) => sum + length, 0);
        const begun = documents - waiting[slot].filter(({ start }) => start === 0).length;
        return [
          name,
          { tokens: packedTokens, documents: begun, epochs: packedTokens / this.sampler.eligibleTokens(slot) },
        ];
      }),
    );
  }

  /** `progress` is how far the learning rate has fallen; it moves annealed shares and quality fractions. */
  async next(progress: number): Promise<MicroBatch> {
    const { source, stage, beginToken } = this.options;
    const pieces = this.fill(stage.microBatchTokens, progress);
    return assembleMicroBatch(source, pieces, {
      beginToken: this.options.prependBeginToken ? beginToken : undefined,
      useLossMask: stage.lossOn === 'markedTokens',
      vocabularySize: source.vocabularySize,
    });
  }

  private fill(tokens: number, progress: number): SampledPiece[] {
    const taken: SampledPiece[] = [];
    let room = tokens;
    while (room > 0) {
      this.draw(progress);
      const index = taken.length === 0 ? 0 : bestFit(this.pool, room); // no piece is longer than a micro-batch
      const piece = index >= 0 ? this.pool.splice(index, 1)[0] : this.cut(room);
      taken.push(piece);
      room -= piece.length;
    }
    return taken;
  }

  /**
   * Fills the pool. It never holds much more than four micro-batches of tokens, so that what is packed keeps the shares of what is
   * drawn, also in a stage of few steps.
   */
  private draw(progress: number): void {
    const { packingLookahead, microBatchTokens } = this.options.stage;
    let tokens = this.pool.reduce((sum, { length }) => sum + length, 0);
    while (this.pool.length === 0 || (this.pool.length < packingLookahead && tokens < 4 * microBatchTokens)) {
      const piece = this.sampler.next(progress);
      this.pool.push(piece);
      tokens += piece.length;
    }
  }

  /** Nothing fits: the front of the shortest waiting piece; its rest stays where it was. */
  private cut(room: number): SampledPiece {
    let shortest = 0;
    this.pool.forEach(({ length }, i) => {
      if (length < this.pool[shortest].length) shortest = i;
    });
    const piece = this.pool[shortest];
    this.pool[shortest] = { ...piece, start: piece.start + room, length: piece.length - room };
    return { ...piece, length: room };
  }
}

/** The longest piece of at most `room` tokens, the oldest of equals; −1 where none fits. */
function bestFit(pool: readonly SampledPiece[], room: number): number {
  let best = -1;
  pool.forEach(({ length }, i) => {
    if (length <= room && (best < 0 || length > pool[best].length)) best = i;
  });
  return best;
}

/** The begin token that a stage puts before documents, or undefined; refuses a stage that wants one the model lacks. */
export function resolveBeginToken(prepend: boolean | undefined, bosTokenId: number | undefined): number | undefined {
  if (prepend === true && bosTokenId === undefined) {
    throw new PretrainError('INVALID_STAGE', 'prependBeginToken is true, but the model has no bosTokenId.', {
      value: prepend,
      remedy: "Set the model's bosTokenId or leave prependBeginToken out.",
    });
  }
  return prepend === false ? undefined : bosTokenId;
}
