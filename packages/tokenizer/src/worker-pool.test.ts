import { describe, expect, it } from 'vitest';
import { presetRules } from './pre-tokenizer.js';
import type { CountRequest } from './training/pre-token-counter.js';
import type { WordCounts } from './training/word-counter.js';
import { resolveWorkerCount, WorkerPool } from './worker-pool.js';

const count = (text: string): CountRequest => {
  const bytes = new TextEncoder().encode(text);
  return { kind: 'count', bytes, ends: Int32Array.of(bytes.length) };
};

describe('WorkerPool', () => {
  it('shares requests among its workers and asks each of them', async () => {
    const pool = new WorkerPool<CountRequest, WordCounts | undefined>('count-worker', 3, presetRules('llama3'));
    await Promise.all(Array.from({ length: 50 }, () => pool.run(count('one two'))));
    const tables = await pool.runOnEach({ kind: 'take' });
    expect(tables).toHaveLength(3);
    const total = tables.flatMap((table) => Array.from(table?.counts ?? [])).reduce((sum, n) => sum + n, 0);
    expect(total).toBe(100);
    await pool.close();
  });

  it('hands on what a worker throws, and goes on', async () => {
    const pool = new WorkerPool<unknown, WordCounts | undefined>('count-worker', 1, presetRules('llama3'));
    await expect(pool.run({ kind: 'count' })).rejects.toMatchObject({ code: 'WORKER_FAILED' });
    await expect(pool.run(count('still works'))).resolves.toBeUndefined();
    await pool.close();
  });

  it('fails every request, waiting ones included, when a worker cannot live', async () => {
    const pool = new WorkerPool<CountRequest, unknown>('encode-worker', 1, 'not a model');
    const requests = [count('a'), count('b'), count('c')].map((request) => pool.run(request));
    for (const result of await Promise.allSettled(requests)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'WORKER_FAILED' } });
    }
    await pool.close();
  });

  it('fails requests after it was closed', async () => {
    const pool = new WorkerPool<CountRequest, unknown>('count-worker', 2, presetRules('gpt2'));
    const underWay = pool.run(count('x'.repeat(1000)));
    await Promise.allSettled([pool.close(), underWay]);
    await expect(pool.run(count('late'))).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('resolveWorkerCount', () => {
  it('takes a whole number, or one for each core', () => {
    expect(resolveWorkerCount(0)).toBe(0);
    expect(resolveWorkerCount(undefined)).toBeGreaterThan(0);
    for (const workers of [-1, 1.5, NaN, 5000]) {
      expect(() => resolveWorkerCount(workers)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
    }
  });
});
