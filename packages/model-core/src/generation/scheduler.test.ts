import { describe, expect, it } from 'vitest';
import { RandomGenerator } from '../util/random-generator.js';
import { BlockAllocator, rootIdentity } from './block-allocator.js';
import { Scheduler, type SchedulerOptions } from './scheduler.js';
import { Sequence } from './sequence.js';

const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 };

function sequence(id: string, prompt: number[], maximumNewTokens: number): Sequence {
  return new Sequence(id, prompt, maximumNewTokens, sampling, new Set(), 0);
}

/** A scheduler's promises, checked from outside after every plan. */
function checkPlan(scheduler: Scheduler, options: SchedulerOptions, chunks: ReturnType<Scheduler['plan']>): void {
  const tokens = chunks.reduce((sum, { count }) => sum + count, 0);
  expect(tokens).toBeLessThanOrEqual(options.maximumBatchTokens);
  expect(scheduler.running.length).toBeLessThanOrEqual(options.maximumSequences);
  expect(new Set(chunks.map((chunk) => chunk.sequence)).size).toBe(chunks.length);
  const writers = new Map<number, Sequence>();
  for (const { sequence: planned, count } of chunks) {
    expect(scheduler.running).toContain(planned);
    expect(count).toBeGreaterThan(0);
    expect(planned.computed + count).toBeLessThanOrEqual(planned.tokens.length);
    expect(planned.computed + count).toBeLessThanOrEqual(planned.blocks.length * options.blockSize);
    // No two sequences write to one block.
    for (let position = planned.computed; position < planned.computed + count; position++) {
      const block = planned.blocks[Math.floor(position / options.blockSize)];
      expect(writers.get(block) ?? planned).toBe(planned);
      writers.set(block, planned);
    }
    // Nor into a block that another one reads.
    for (const other of scheduler.running) {
      if (other === planned) continue;
      const read = other.blocks.slice(0, Math.ceil(other.computed / options.blockSize));
      for (const block of read) expect(writers.get(block)).not.toBe(planned);
    }
  }
}

describe('Scheduler', () => {
  it('finishes any mixture of requests within any cache that holds each alone', () => {
    const random = new RandomGenerator(17);
    for (let round = 0; round < 100; round++) {
      const blockSize = 1 + random.integer(5);
      const options: SchedulerOptions = {
        totalBlocks: 2 + random.integer(12),
        blockSize,
        maximumBatchTokens: 1 + random.integer(20),
        maximumSequences: 1 + random.integer(6),
        prefixCache: round % 2 === 0,
      };
      options.maximumSequences = Math.min(options.maximumSequences, options.maximumBatchTokens);
      const capacity = options.totalBlocks * blockSize;
      const scheduler = new Scheduler(options);
      const left = Array.from({ length: 1 + random.integer(12) }, (_, i) => {
        const promptLength = 1 + random.integer(capacity - 1);
        const prompt = Array.from({ length: promptLength }, () => random.integer(2));
        return sequence(String(i), prompt, 1 + random.integer(capacity - promptLength));
      });
      let finished = 0;
      const total = left.length;
      for (let step = 0; finished < total; step++) {
        if (step > 20_000) throw new Error(`round ${round} does not finish`);
        while (left.length > 0 && random.integer(3) === 0) scheduler.waiting.push(left.pop()!);
        const idle = scheduler.running.length + scheduler.waiting.length === 0;
        const chunks = scheduler.plan();
        checkPlan(scheduler, options, chunks);
        if (!idle) expect(chunks.length).toBeGreaterThan(0);
        for (const chunk of chunks) {
          const complete = chunk.count === chunk.sequence.pending;
          scheduler.advance(chunk);
          if (!complete) continue;
          chunk.sequence.tokens.push(random.integer(2));
          if (chunk.sequence.generated < chunk.sequence.maximumNewTokens && random.integer(40) > 0) continue;
          scheduler.remove(chunk.sequence);
          finished++;
        }
      }
      expect(scheduler.allocator.freeBlocks).toBe(options.totalBlocks);
    }
  });

  it('serves decoding sequences before prompts, and prompts in order', () => {
    const scheduler = new Scheduler({
      totalBlocks: 100,
      blockSize: 4,
      maximumBatchTokens: 8,
      maximumSequences: 8,
      prefixCache: false,
    });
    const [a, b, c] = [sequence('a', [1], 9), sequence('b', Array<number>(10).fill(1), 9), sequence('c', [1, 2], 9)];
    scheduler.waiting.push(a, b, c);
    const plan = (): [string, number][] =>
      scheduler.plan().map((chunk): [string, number] => {
        const complete = chunk.count === chunk.sequence.pending;
        scheduler.advance(chunk);
        if (complete) chunk.sequence.tokens.push(0);
        return [chunk.sequence.id, chunk.count];
      });
    expect(plan()).toEqual([
      ['a', 1],
      ['b', 7],
    ]);
    expect(plan()).toEqual([
      ['a', 1],
      ['b', 3],
      ['c', 2],
    ]);
    expect(plan()).toEqual([
      ['a', 1],
      ['b', 1],
      ['c', 1],
    ]);
  });
});

describe('BlockAllocator', () => {
  it('hands out each block once, and again when it was released', () => {
    const allocator = new BlockAllocator(3);
    const blocks = [allocator.allocate(), allocator.allocate(), allocator.allocate()];
    expect(new Set(blocks)).toEqual(new Set([0, 1, 2]));
    expect(allocator.allocate()).toBeUndefined();
    allocator.release(1);
    expect(allocator.freeBlocks).toBe(1);
    expect(allocator.allocate()).toBe(1);
  });

  it('keeps registered content until its space is needed, the longest unused first', () => {
    const allocator = new BlockAllocator(2);
    const [first, second] = [allocator.allocate()!, allocator.allocate()!];
    const identity = allocator.register(first, rootIdentity, [1, 2]);
    const child = allocator.register(second, identity, [3, 4]);
    expect(allocator.register(second, identity, [3, 4])).toBe(child);
    allocator.release(second);
    allocator.release(first);
    expect(allocator.freeBlocks).toBe(2);
    expect(allocator.find(identity, [3, 4])).toEqual({ block: second, identity: child });
    expect(allocator.find(rootIdentity, [3, 4])).toBeUndefined();
    expect(allocator.allocate()).toBe(second);
    expect(allocator.find(identity, [3, 4])).toBeUndefined();
    allocator.retain(first);
    expect(allocator.freeBlocks).toBe(0);
    expect(allocator.allocate()).toBeUndefined();
    allocator.release(first);
    allocator.clearContents();
    expect(allocator.find(rootIdentity, [1, 2])).toBeUndefined();
    expect(allocator.allocate()).toBe(first);
  });
});
