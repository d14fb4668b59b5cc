import { describe, expect, it } from 'vitest';
import { seededRandom } from '../random.js';
import { bootstrapEstimate, estimate, wilsonEstimate } from './estimate.js';
import { passAtK, passAtSteps } from './pass-at-k.js';

describe('wilsonEstimate', () => {
  // Newcombe (1998), Statistics in Medicine 17:857–872, table I, method 3.
  it.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('%d of %d agrees with the published interval', (successes, count, low, high) => {
    const result = wilsonEstimate(successes, count);
    expect(result.low).toBeCloseTo(low, 4);
    expect(result.high).toBeCloseTo(high, 4);
    expect(result.mean).toBe(successes / count);
  });

  it('says nothing of nothing', () => {
    expect(wilsonEstimate(0, 0)).toMatchObject({ low: 0, high: 1, count: 0 });
    expect(wilsonEstimate(7, 7).high).toBe(1);
  });
});

describe('bootstrapEstimate', () => {
  it('covers the true mean about as often as it promises', () => {
    const random = seededRandom(3, 'coverage');
    let covered = 0;
    for (let trial = 0; trial < 200; trial++) {
      const values = Array.from({ length: 60 }, () => random.uniform() ** 2);
      const { low, high } = bootstrapEstimate(values, { resamples: 400 });
      if (low <= 1 / 3 && 1 / 3 <= high) covered++;
    }
    // 95 % of 200 is 190 ± 3.1; the percentile bootstrap is known to fall a little short.
    expect(covered).toBeGreaterThan(176);
    expect(covered).toBeLessThan(200);
  });

  it('is the same for the same scores', () => {
    expect(bootstrapEstimate([0, 0.5, 1, 1])).toEqual(bootstrapEstimate([0, 0.5, 1, 1]));
    expect(estimate([0, 1, 1]).method).toBe('wilson');
    expect(estimate([0, 0.5, 1]).method).toBe('bootstrap');
  });
});

describe('passAtK', () => {
  it('is the share of k-subsets with a right answer, counted one by one', () => {
    for (let n = 1; n <= 9; n++) {
      for (let right = 0; right <= n; right++) {
        const hits = new Array<number>(n + 1).fill(0);
        const subsets = new Array<number>(n + 1).fill(0);
        for (let mask = 1; mask < 1 << n; mask++) {
          const size = mask.toString(2).replaceAll('0', '').length;
          subsets[size]++;
          if (mask & ((1 << right) - 1)) hits[size]++;
        }
        for (let k = 1; k <= n; k++) expect(passAtK(n, right, k)).toBeCloseTo(hits[k] / subsets[k], 12);
      }
    }
  });

  it('neither overflows nor takes a k that was not sampled', () => {
    expect(passAtK(100_000, 10, 100)).toBeCloseTo(1 - (1 - 10 / 100_000) ** 100, 4);
    expect(() => passAtK(4, 2, 5)).toThrow('pass@k');
    expect(passAtSteps(10)).toEqual([1, 2, 4, 8]);
  });
});
