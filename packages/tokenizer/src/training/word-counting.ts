/**
 * Counts the pre-tokens of texts in batches of a megabyte, on worker threads. They start when the first batch is full:
 * little text is counted here.
 */
import type { SplitRules } from '../pre-tokenizer.js';
import type { OnProgress } from '../types.js';
import { transferList, WorkerPool } from '../worker-pool.js';
import { PreTokenCounter, type CountRequest } from './pre-token-counter.js';
import { WordCounter, type WordCounts } from './word-counter.js';

export interface WordCountingOptions {
  rules: SplitRules;
  /** 0 for none besides this thread. */
  workers: number;
  onProgress: OnProgress | undefined;
  /** Counts to go on from. */
  earlier: WordCounts | undefined;
}

const batchLength = 1 << 20;

export class WordCounting {
  private readonly options: WordCountingOptions;
  private readonly local: PreTokenCounter;
  private readonly total = new WordCounter();
  private readonly utf8 = new TextEncoder();
  private pool: WorkerPool<CountRequest, WordCounts | undefined> | undefined;
  private readonly inFlight = new Set<Promise<unknown>>();
  private failure: Error | undefined;
  private batch: string[] = [];
  private length = 0;
  private bytesCounted = 0;

  constructor(options: WordCountingOptions) {
    this.options = options;
    this.local = new PreTokenCounter(options.rules);
    if (options.earlier !== undefined) this.total.addAll(options.earlier);
  }

  /** Takes a text; true when there is enough for `flush`. */
  add(text: string): boolean {
    this.batch.push(text);
    this.length += text.length;
    return this.length >= batchLength;
  }

  /** Hands what was added to a worker; waits while they have plenty. */
  async flush(): Promise<void> {
    const { rules, workers } = this.options;
    if (workers > 0) this.pool ??= new WorkerPool('count-worker', workers, rules);
    await this.countBatch();
  }

  /** All counts so far. */
  async collect(): Promise<WordCounts> {
    await this.countBatch();
    await Promise.all(this.inFlight);
    this.throwFailure();
    this.total.addAll(this.local.take());
    const tables = (await this.pool?.runOnEach({ kind: 'take' })) ?? [];
    for (const table of tables) if (table !== undefined) this.total.addAll(table);
    return this.total.toWordCounts();
  }

  async close(): Promise<void> {
    await this.pool?.close();
  }

  private async countBatch(): Promise<void> {
    if (this.batch.length === 0) return;
    const request = this.takeBatch();
    if (this.pool === undefined) {
      this.local.count(request.bytes, request.ends);
      await new Promise((resolve) => setImmediate(resolve));
    } else {
      const counted = this.pool
        .run(request, transferList(request.bytes, request.ends))
        .catch((error: Error) => (this.failure ??= error))
        .finally(() => this.inFlight.delete(counted));
      this.inFlight.add(counted);
      if (this.inFlight.size > 2 * this.pool.size) await Promise.race(this.inFlight);
      this.throwFailure();
    }
    this.options.onProgress?.({ task: 'count words', completed: this.bytesCounted, unit: 'bytes' });
  }

  private throwFailure(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  private takeBatch(): { kind: 'count'; bytes: Uint8Array; ends: Int32Array } {
    const ends = new Int32Array(this.batch.length);
    const bytes = new Uint8Array(this.batch.reduce((sum, text) => sum + Buffer.byteLength(text), 0));
    let end = 0;
    for (const [i, text] of this.batch.entries()) {
      end += this.utf8.encodeInto(text, bytes.subarray(end)).written;
      ends[i] = end;
    }
    this.bytesCounted += end;
    this.batch = [];
    this.length = 0;
    return { kind: 'count', bytes, ends };
  }
}
