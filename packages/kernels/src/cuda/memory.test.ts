/** The device's memory: caching, splitting, private pools, running out. On the emulated device with a small capacity. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { CudaAddon, Handle } from './addon';
import { float32 } from './physical-type';
import { missing, useEmulatedDevice } from './test-support';

const MiB = 2 ** 20;

describe.skipIf(missing !== undefined)(`device memory${missing === undefined ? '' : ` (${missing})`}`, () => {
  let addon: CudaAddon;
  const held: Handle[] = [];
  const floats = (bytes: number, name = 'test'): Handle => {
    const handle = addon.create(bytes / 4, float32, addon.label(name));
    held.push(handle);
    return handle;
  };
  const release = (handle: Handle): void => {
    held.splice(held.indexOf(handle), 1);
    addon.release(handle);
  };

  beforeAll(async () => {
    ({ addon } = await useEmulatedDevice());
    addon.setPoison(false);
  });
  afterEach(() => {
    for (const handle of held.splice(0)) addon.release(handle);
    addon.setCapacity!(16 * 2 ** 30);
    addon.releaseCached();
  });

  test('is kept when released and handed out again', () => {
    const { liveBytes } = addon.statistics();
    release(floats(40 * MiB));
    const { deviceAllocations } = addon.statistics();
    for (let i = 0; i < 10; i++) release(floats(40 * MiB));
    expect(addon.statistics()).toMatchObject({ deviceAllocations, liveBytes });
    expect(addon.statistics().cachedBytes).toBeGreaterThanOrEqual(40 * MiB);
    addon.releaseCached();
    expect(addon.statistics().cachedBytes).toBeLessThan(4 * MiB);
  });

  test('is cut to size, and neighbours grow together again', () => {
    release(floats(64 * MiB));
    const { deviceAllocations } = addon.statistics();
    const parts = [16, 16, 16, 16].map((size) => floats(size * MiB));
    expect(addon.statistics().deviceAllocations).toBe(deviceAllocations);
    // Every order of release ends in one block.
    for (const index of [1, 3, 0, 2]) release(parts[index]);
    floats(64 * MiB);
    expect(addon.statistics().deviceAllocations).toBe(deviceAllocations);
  });

  test('of small arrays comes from shared segments, aligned, each its own', () => {
    const { deviceAllocations } = addon.statistics();
    const values = Array.from({ length: 200 }, (_, i) => ({ handle: floats(40), i }));
    expect(addon.statistics().deviceAllocations - deviceAllocations).toBeLessThanOrEqual(1);
    for (const { handle, i } of values) addon.fill(10, i, handle);
    for (const { handle, i } of values) {
      const read = new Float32Array(10);
      addon.readSync(handle, float32, new Uint8Array(read.buffer));
      expect(read.every((value) => value === i)).toBe(true);
    }
  });

  test('random requests never overlap, and the books agree', () => {
    let state = 1;
    const random = (below: number): number => (state = (state * 48271) % 2147483647) % below;
    const before = addon.statistics();
    const live: { handle: Handle; value: number; count: number }[] = [];
    for (let round = 0; round < 600; round++) {
      if (live.length > 0 && random(5) < 2) {
        const [{ handle, value, count }] = live.splice(random(live.length), 1);
        const read = new Float32Array(count);
        addon.readSync(handle, float32, new Uint8Array(read.buffer));
        expect(read[0] === value && read[count - 1] === value).toBe(true);
        release(handle);
      } else {
        const count = 1 + random(random(8) === 0 ? 2_000_000 : 3000);
        const handle = floats(count * 4);
        addon.fill(count, round, handle);
        live.push({ handle, value: round, count });
      }
    }
    expect(addon.statistics().liveBlocks - before.liveBlocks).toBe(live.length);
    for (const { handle } of live) release(handle);
    expect(addon.statistics().liveBytes).toBe(before.liveBytes);
  });

  test('counts peaks, sizes and holders', () => {
    addon.resetPeaks();
    const { liveBytes } = addon.statistics();
    release(floats(8 * MiB, 'first'));
    floats(2 * MiB, 'second');
    const now = addon.statistics();
    expect(now.peakLiveBytes - liveBytes).toBe(8 * MiB);
    expect(now.byOperation.find(({ name }) => name === 'second')).toEqual({
      name: 'second',
      blocks: 1,
      bytes: 2 * MiB,
    });
    expect(now.byOperation.some(({ name }) => name === 'first')).toBe(false);
    expect(now.bySize.find(({ name }) => name === 'up to 2.0 MiB')).toMatchObject({ blocks: 1 });
    expect(now.bySize.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(now.liveBytes);
  });

  test('that runs out gives cached segments back and tries again', () => {
    addon.releaseCached();
    addon.setCapacity!(addon.statistics().reservedBytes + 100 * MiB);
    // Two blocks of 40 MiB are kept; neither serves a request of 80.
    for (const handle of [floats(40 * MiB), floats(40 * MiB)]) release(handle);
    floats(80 * MiB);
    expect(addon.statistics().cachedBytes).toBeLessThan(30 * MiB);
  });

  test('that runs out for good says who holds how much, and the next request that fits succeeds', () => {
    addon.setCapacity!(addon.statistics().reservedBytes + 100 * MiB);
    floats(60 * MiB, 'XgLinear');
    let thrown: unknown;
    try {
      floats(64 * MiB, 'XgAttention');
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'OUT_OF_MEMORY' });
    expect((thrown as Error).message).toMatch(/64\.0 MiB left for XgAttention.*XgLinear: 60\.0 MiB in 1/);
    floats(20 * MiB);
  });

  test('of a released array cannot be used through its old handle', () => {
    const handle = floats(4096);
    release(handle);
    const next = floats(4096);
    expect(next).not.toBe(handle);
    expect(() => addon.fill(1, 0, handle)).toThrow(/no device array/);
    expect(() => addon.fill(1025, 0, next)).toThrow(/fewer than the 1025 needed/);
    expect(() => addon.release(12345678)).toThrow(/no device array/);
  });

  test('that a graph was recorded with is left alone until the graph is gone', () => {
    const out = floats(4096);
    addon.beginCapture();
    const scratch = addon.create(4 * MiB, float32, 0);
    addon.fill(4 * MiB, 7, scratch);
    addon.copyRange(1024, scratch, 0, out, 0);
    addon.release(scratch);
    const graph = addon.endCapture();
    // As large as what the graph wrote to: must not be the same memory.
    const other = floats(16 * MiB);
    addon.fill(4 * MiB, 1, other);
    addon.replay(graph);
    const [read, untouched] = [new Float32Array(1024), new Float32Array(4 * MiB)];
    addon.readSync(out, float32, new Uint8Array(read.buffer));
    addon.readSync(other, float32, new Uint8Array(untouched.buffer));
    expect(read.every((value) => value === 7)).toBe(true);
    expect(untouched.every((value) => value === 1)).toBe(true);
    const { deviceAllocations } = addon.statistics();
    addon.destroyGraph(graph);
    floats(16 * MiB);
    expect(addon.statistics().deviceAllocations).toBe(deviceAllocations);
  });
});
