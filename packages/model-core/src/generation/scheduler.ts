/**
 * Which tokens run in the next forward: continuous batching over a paged cache, with no tensor in sight.
 *
 * - Decoding sequences come first (one token each), then prompts in order of arrival, in chunks that fit the budget,
 *   then new requests while blocks and budget last.
 * - A sequence gets the blocks of all its tokens on admission and one more whenever it outgrows them. Where none is
 *   free, the youngest sequence goes back to wait: its blocks are freed and its tokens will be computed again.
 * - No deadlock: each request fits the cache alone (checked on arrival) and the oldest is never the one put back, so
 *   it finishes, and so does the next.
 */
import { BlockAllocator, rootIdentity } from './block-allocator.js';
import type { Sequence } from './sequence.js';

export interface SchedulerOptions {
  totalBlocks: number;
  blockSize: number;
  maximumBatchTokens: number;
  maximumSequences: number;
  prefixCache: boolean;
}

/** `count` tokens of a sequence, from its `computed` on. */
export interface Chunk {
  sequence: Sequence;
  count: number;
}

export class Scheduler {
  readonly running: Sequence[] = [];
  readonly waiting: Sequence[] = [];
  readonly allocator: BlockAllocator;
  preemptions = 0;
  /** Prompt tokens found in the cache instead of computed. */
  cachedTokens = 0;

  constructor(private readonly options: SchedulerOptions) {
    this.allocator = new BlockAllocator(options.totalBlocks);
  }

  /** The next forward's chunks, each within its blocks; empty only where nothing is running or waiting. */
  plan(): Chunk[] {
    const preemptionsBefore = this.preemptions;
    const chunks: Chunk[] = [];
    let budget = this.options.maximumBatchTokens;
    // Only the youngest are put back meanwhile, which are the last of the list.
    for (let i = 0; i < this.running.length; i++) {
      const sequence = this.running[i];
      if (sequence.pending !== 1 || !this.reserve(sequence)) continue;
      chunks.push({ sequence, count: 1 });
      budget--;
    }
    const prefill = (sequence: Sequence): void => {
      const count = Math.min(sequence.pending, budget);
      if (count > 0) chunks.push({ sequence, count });
      budget -= count;
    };
    for (const sequence of this.running) if (sequence.pending > 1) prefill(sequence);
    // What was just put back must not return at once for its blocks to be taken again.
    if (this.preemptions > preemptionsBefore) return chunks;
    while (budget > 0 && this.admitNext()) prefill(this.running.at(-1)!);
    return chunks;
  }

  /** Notes that a chunk was computed; full blocks become findable where the prefix cache is on. */
  advance({ sequence, count }: Chunk): void {
    sequence.computed += count;
    if (!this.options.prefixCache) return;
    const { blockSize } = this.options;
    while ((sequence.registeredBlocks + 1) * blockSize <= sequence.computed) {
      const index = sequence.registeredBlocks++;
      const tokens = sequence.tokens.slice(index * blockSize, (index + 1) * blockSize);
      sequence.lastIdentity = this.allocator.register(sequence.blocks[index], sequence.lastIdentity, tokens);
    }
  }

  /** Takes a sequence out, wherever it is, and frees its blocks. */
  remove(sequence: Sequence): void {
    for (const list of [this.running, this.waiting]) {
      const index = list.indexOf(sequence);
      if (index >= 0) list.splice(index, 1);
    }
    this.freeBlocks(sequence);
  }

  private blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.options.blockSize);
  }

  /** Makes room for a sequence's pending token; false where that put the sequence itself back. */
  private reserve(sequence: Sequence): boolean {
    while (sequence.blocks.length < this.blocksFor(sequence.tokens.length)) {
      const block = this.allocator.allocate();
      if (block !== undefined) {
        sequence.blocks.push(block);
        continue;
      }
      const victim = this.running.pop()!;
      this.freeBlocks(victim);
      this.waiting.unshift(victim);
      this.preemptions++;
      if (victim === sequence) return false;
    }
    return true;
  }

  private admitNext(): boolean {
    const sequence = this.waiting[0];
    if (sequence === undefined || this.running.length >= this.options.maximumSequences) return false;
    const found = this.options.prefixCache ? this.findPrefix(sequence) : [];
    const needed = this.blocksFor(sequence.tokens.length) - found.length;
    const takenFromFree = found.filter(({ block }) => this.allocator.isFree(block)).length;
    // A spare block for each running sequence, or growth would soon put the newcomer back.
    if (this.allocator.freeBlocks - takenFromFree < needed + this.running.length) return false;
    for (const { block } of found) this.allocator.retain(block);
    sequence.blocks = found.map(({ block }) => block);
    for (let i = 0; i < needed; i++) sequence.blocks.push(this.allocator.allocate()!);
    sequence.registeredBlocks = found.length;
    sequence.lastIdentity = found.at(-1)?.identity ?? rootIdentity;
    sequence.computed = found.length * this.options.blockSize;
    this.cachedTokens += sequence.computed;
    this.waiting.shift();
    this.running.push(sequence);
    return true;
  }

  /** Cached blocks of the sequence's beginning; its last token is always left to compute, for its logits. */
  private findPrefix({ tokens }: Sequence): { block: number; identity: number }[] {
    const { blockSize } = this.options;
    const found: { block: number; identity: number }[] = [];
    for (let end = blockSize; end < tokens.length; end += blockSize) {
      const parent = found.at(-1)?.identity ?? rootIdentity;
      const cached = this.allocator.find(parent, tokens.slice(end - blockSize, end));
      if (cached === undefined) break;
      found.push(cached);
    }
    return found;
  }

  private freeBlocks(sequence: Sequence): void {
    // Last block first: a chain is evicted from its end, so what remains stays reachable.
    for (const block of sequence.blocks.reverse()) this.allocator.release(block);
    sequence.blocks = [];
    sequence.computed = 0;
    sequence.registeredBlocks = 0;
    sequence.lastIdentity = rootIdentity;
  }
}
