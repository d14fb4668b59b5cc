/** Matrix products of every variant against a float64 loop: odd sizes, all layouts, both precisions, poisoned outputs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadAddon } from './load-addon';
import type { NativeAddon } from './addon';

const loaded = loadAddon();

function random(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Nearest bfloat16, ties to even. */
function toBfloat16(value: number): number {
  const bits = new Uint32Array(new Float32Array([value]).buffer)[0];
  const rounded = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(new Uint32Array([rounded]).buffer)[0];
}

type Product = { m: number; n: number; k: number; transposedA: boolean; transposedB: boolean; bfloat16: boolean };

/** Largest error of one element relative to the sum of its terms' magnitudes. */
function worstError(addon: NativeAddon, { m, n, k, transposedA, transposedB, bfloat16 }: Product): number {
  const [a, b] = [random(m * k, m + 7 * k), random(k * n, 3 * n + k)];
  const out = new Float32Array(m * n).fill(NaN);
  addon.batchMatMul(1, false, false, m, n, k, transposedA, transposedB, bfloat16, a, b, out);
  const [left, right] = bfloat16 ? [a.map(toBfloat16), b.map(toBfloat16)] : [a, b];
  // NaN anywhere is an element that nobody wrote.
  let worst = out.some(Number.isNaN) ? Infinity : 0;
  // Of large results every third element in each direction, and the edges of tiles among them.
  const stepOf = (size: number): number => (size > 60 ? 3 : 1);
  for (let i = m - 1; i >= 0; i -= stepOf(m)) {
    for (let j = n - 1; j >= 0; j -= stepOf(n)) {
      let sum = 0;
      let magnitude = 1e-6;
      for (let p = 0; p < k; p++) {
        const term = left[transposedA ? p * m + i : i * k + p] * right[transposedB ? j * k + p : p * n + j];
        sum += term;
        magnitude += Math.abs(term);
      }
      worst = Math.max(worst, Math.abs(out[i * n + j] - sum) / magnitude);
    }
  }
  return worst;
}

const sizes: [m: number, n: number, k: number][] = [
  [1, 1, 1],
  [1, 33, 17],
  [3, 5, 400],
  [13, 31, 15],
  [14, 32, 16],
  [15, 47, 33],
  [64, 1, 100],
  [57, 96, 256],
  [113, 65, 385],
  [130, 70, 769],
  [61, 520, 31],
];

describe.skipIf(loaded.addon === undefined)('matrix products', () => {
  const addon = loaded.addon!;
  const threads = addon?.threadCount();
  beforeAll(() => addon.setThreadCount(3));
  afterAll(() => {
    addon.setVariant('');
    addon.setThreadCount(threads);
  });

  describe.each(addon?.variants() ?? [])('%s', (variant) => {
    it.each(sizes)('%i x %i x %i', (m, n, k) => {
      addon.setVariant(variant);
      for (const [transposedA, transposedB] of [
        [false, false],
        [false, true],
        [true, false],
        [true, true],
      ]) {
        for (const bfloat16 of [false, true]) {
          const error = worstError(addon, { m, n, k, transposedA, transposedB, bfloat16 });
          // A chain of k roundings, each at most half a unit in the last place.
          expect(error, `transposed ${transposedA} ${transposedB}, bfloat16 ${bfloat16}`).toBeLessThan(
            6e-8 * (4 + k / 16),
          );
        }
      }
    });

    it('gives a row the same bits alone as among others', () => {
      addon.setVariant(variant);
      const [m, n, k] = [150, 96, 800];
      const [a, b] = [random(m * k, 1), random(k * n, 2)];
      for (const bfloat16 of [false, true]) {
        const all = new Float32Array(m * n);
        addon.batchMatMul(1, false, false, m, n, k, false, true, bfloat16, a, b, all);
        for (const row of [0, 13, 149]) {
          const alone = new Float32Array(n);
          const own = a.slice(row * k, (row + 1) * k);
          addon.batchMatMul(1, false, false, 1, n, k, false, true, bfloat16, own, b, alone);
          expect(alone).toEqual(all.slice(row * n, (row + 1) * n));
        }
      }
    });
  });
});
