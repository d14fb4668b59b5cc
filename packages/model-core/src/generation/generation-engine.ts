/**
 * Continuous batching: requests join and leave between forwards, each step runs one forward over everything that is
 * active. Synchronous and single-threaded: the caller owns the loop. Costs one forward of at most
 * `maximumBatchTokens` rows a step; the cache is allocated once, and nothing grows from step to step.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ModelError } from '../errors.js';
import type { CausalLanguageModel } from '../model/causal-language-model.js';
import { decoderInputs } from '../model/decoder.js';
import { RandomGenerator } from '../util/random-generator.js';
import { CapturedDecoding } from './captured-decoding.js';
import { PagedCache } from './paged-cache.js';
import { readSampled, sampleSequences, type SampledToken } from './sample.js';
import { Scheduler, type Chunk } from './scheduler.js';
import { createSequence, type Sequence } from './sequence.js';
import type {
  FinishReason,
  GenerationEngineOptions,
  GenerationEngineStats,
  GenerationEvent,
  GenerationRequest,
} from './types.js';

/** Logits held at once; more sequences are sampled in groups. */
const maximumLogits = 2 ** 24;
/** Sizes of batches that are recorded at a time: those that a server sees in turn. */
const maximumGraphs = 16;

function checkedOption(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new ModelError('INVALID_ARGUMENT', `${name} is ${value}.`, { value, remedy: 'Use a whole number from 1.' });
}

export class GenerationEngine {
  private readonly scheduler: Scheduler;
  private readonly sequences = new Map<string, Sequence>();
  private readonly seeds: RandomGenerator;
  private readonly blockSize: number;
  private readonly totalBlocks: number;
  private readonly cache: PagedCache;
  private readonly captured: CapturedDecoding | undefined;
  private cancelled: string[] = [];
  private requests = 0;
  private disposed = false;
  private readonly counts = {
    steps: 0,
    capturedSteps: 0,
    promptTokens: 0,
    generatedTokens: 0,
    finishedRequests: 0,
    cancelledRequests: 0,
  };

  /** Throws ModelError INVALID_ARGUMENT. The model must outlive the engine. */
  constructor(
    private readonly model: CausalLanguageModel,
    options: GenerationEngineOptions,
  ) {
    const maximumBatchTokens = checkedOption('maximumBatchTokens', options.maximumBatchTokens);
    this.blockSize = checkedOption('blockSize', options.blockSize ?? 16);
    this.totalBlocks = Math.ceil(checkedOption('cacheTokens', options.cacheTokens) / this.blockSize);
    const maximumSequences = checkedOption('maximumSequences', options.maximumSequences ?? maximumBatchTokens);
    this.seeds = new RandomGenerator(options.seed ?? 0);
    this.scheduler = new Scheduler({
      totalBlocks: this.totalBlocks,
      blockSize: this.blockSize,
      maximumBatchTokens,
      maximumSequences: Math.min(maximumSequences, maximumBatchTokens),
      prefixCache: options.prefixCache ?? false,
    });
    this.cache = new PagedCache(model.config, this.totalBlocks, this.blockSize);
    if (options.captureDecoding ?? true) {
      const longest = Math.ceil(model.config.maximumPositions / this.blockSize);
      const maximumWidth = Math.min(longest, this.totalBlocks);
      this.captured = new CapturedDecoding(model, this.cache, { maximumWidth, maximumLogits, maximumGraphs });
    }
  }

  /** Sequences with a place in the cache. */
  get active(): number {
    return this.scheduler.running.length;
  }

  /** Requests that wait for a place. */
  get waiting(): number {
    return this.scheduler.waiting.length;
  }

  /**
   * Queues a request and returns its id. Throws ModelError INVALID_ARGUMENT, DUPLICATE_REQUEST, or REQUEST_TOO_LONG where
   * it could never fit.
   */
  add(request: GenerationRequest): string {
    this.checkAlive();
    const id = request.id ?? `request-${++this.requests}`;
    if (this.sequences.has(id)) {
      throw new ModelError('DUPLICATE_REQUEST', `A request ${JSON.stringify(id)} is under way.`, {
        value: id,
        remedy: 'Give each live request its own id, or leave it out.',
      });
    }
    const limits = { config: this.model.config, cacheTokens: this.totalBlocks * this.blockSize };
    const sequence = createSequence(request, id, () => this.seeds.nextUint32(), limits);
    this.sequences.set(id, sequence);
    this.scheduler.waiting.push(sequence);
    return id;
  }

  /** Frees the request's place at once; the next step() confirms with a 'cancelled' event. Unknown ids are ignored. */
  cancel(id: string): void {
    const sequence = this.sequences.get(id);
    if (sequence === undefined) return;
    this.finish(sequence);
    this.cancelled.push(id);
    this.counts.cancelledRequests++;
  }

  /**
   * One forward: a token for every decoding sequence and as much of the prompts as fits. Returns at most one event a
   * request; none while prompts are still being read. Where the forward throws, no request has moved.
   */
  step(): GenerationEvent[] {
    this.checkAlive();
    const events = this.cancelled.map((id): GenerationEvent => ({
      id,
      token: -1,
      logProbability: 0,
      finishReason: 'cancelled',
    }));
    const chunks = this.scheduler.plan();
    if (chunks.length > 0) {
      const complete = chunks.filter(({ sequence, count }) => count === sequence.pending);
      const sampled = this.forward(chunks, complete);
      this.counts.steps++;
      for (const chunk of chunks) {
        const { computed, promptLength } = chunk.sequence;
        this.counts.promptTokens += Math.max(0, Math.min(promptLength, computed + chunk.count) - computed);
        this.scheduler.advance(chunk);
      }
      complete.forEach(({ sequence }, i) => events.push(this.accept(sequence, sampled[i])));
    }
    this.cancelled = [];
    return events;
  }

  stats(): GenerationEngineStats {
    const { running, waiting, allocator, preemptions, cachedTokens } = this.scheduler;
    return {
      active: running.length,
      waiting: waiting.length,
      totalBlocks: this.totalBlocks,
      freeBlocks: allocator.freeBlocks,
      blockSize: this.blockSize,
      ...this.counts,
      cachedPromptTokens: cachedTokens,
      preemptions,
    };
  }

  /** Forgets reusable prefixes. Call it after changing the model's weights where `prefixCache` is on. */
  clearPrefixCache(): void {
    this.scheduler.allocator.clearContents();
  }

  /** Frees the cache; requests under way are dropped without an event. The model stays. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.captured?.dispose();
    this.cache.dispose();
    this.sequences.clear();
  }

  private checkAlive(): void {
    if (this.disposed) {
      throw new ModelError('DISPOSED', 'The engine was disposed.', { remedy: 'Make a new one.' });
    }
  }

  private forward(chunks: readonly Chunk[], complete: readonly Chunk[]): SampledToken[] {
    if (chunks.every(({ sequence, count }) => count === 1 && sequence.pending === 1)) {
      const sequences = chunks.map(({ sequence }) => sequence);
      const rows = this.captured?.run(sequences);
      if (rows !== undefined) {
        const sampled = readSampled(rows, sequences);
        this.counts.capturedSteps++;
        return sampled;
      }
    }
    const count = chunks.reduce((sum, chunk) => sum + chunk.count, 0);
    const tokens = new Int32Array(count);
    const positions = new Int32Array(count);
    const rows: number[] = [];
    let row = 0;
    for (const chunk of chunks) {
      const { sequence } = chunk;
      for (let position = sequence.computed; position < sequence.computed + chunk.count; position++) {
        tokens[row] = sequence.tokens[position]!;
        positions[row++] = position;
      }
      if (chunk.count === sequence.pending) rows.push(row - 1);
    }
    const sampled: SampledToken[] = [];
    tf.tidy(() => {
      // No request goes beyond maximumPositions, so dynamic RoPE is plain RoPE here and earlier keys stay valid.
      const sequenceLength = this.model.config.maximumPositions;
      const inputs = decoderInputs(this.model.config, { tokens, positions }, sequenceLength);
      const hidden = this.model.forward(inputs, this.cache.attention(this.cache.rowsOf(chunks)));
      const group = Math.max(1, Math.floor(maximumLogits / this.model.config.vocabularySize));
      for (let start = 0; start < rows.length; start += group) {
        const sequences = complete.slice(start, start + group).map(({ sequence }) => sequence);
        tf.tidy(() => {
          const logits = this.model.logits(hidden, Int32Array.from(rows.slice(start, start + group)));
          sampled.push(...sampleSequences(logits, sequences));
        });
      }
    });
    return sampled;
  }

  private accept(sequence: Sequence, { token, logProbability, topLogProbabilities }: SampledToken): GenerationEvent {
    sequence.tokens.push(token);
    this.counts.generatedTokens++;
    let finishReason: FinishReason | undefined;
    if (sequence.stopTokens.has(token)) finishReason = 'stop';
    else if (sequence.generated >= sequence.maximumNewTokens) finishReason = 'length';
    if (finishReason !== undefined) {
      this.finish(sequence);
      this.counts.finishedRequests++;
    }
    return {
      id: sequence.id,
      token,
      logProbability,
      ...(topLogProbabilities && { topLogProbabilities }),
      ...(finishReason && { finishReason }),
    };
  }

  private finish(sequence: Sequence): void {
    this.scheduler.remove(sequence);
    this.sequences.delete(sequence.id);
  }
}
