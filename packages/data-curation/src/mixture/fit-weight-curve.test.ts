import { expect, it } from 'vitest';
import { fitWeightCurve } from './fit-weight-curve.js';
import { weightForCount } from './weight-curves.js';

it('weighs sizes by how much less often than all text the filters drop them', () => {
  const curve = fitWeightCurve(
    [
      { size: 1, documents: 10_000, dropped: 6000 },
      { size: 2, documents: 4000, dropped: 1600 },
      { size: 3, documents: 2000, dropped: 400 },
      { size: 4, documents: 30, dropped: 30 },
      { size: 30, documents: 3000, dropped: 900 },
      { size: 5000, documents: 1000, dropped: 1000 },
    ],
    { maximumWeight: 10 },
  );
  // 9,930 of 20,030 documents are dropped: 0.4958. The best bucket holds sizes 3 and 4 to 20 (too few): 430 of 2,030 = 0.2118.
  expect(curve.overallRate).toBeCloseTo(0.4958, 3);
  const weight = (count: number) => weightForCount(curve.steps, count);
  expect(weight(1)).toBe(1);
  expect(weight(3)).toBe(10);
  expect(weight(2)).toBeCloseTo(1 + (9 * (0.4958 - 0.4)) / (0.4958 - 0.2118), 1);
  expect(weight(30)).toBeCloseTo(1 + (9 * (0.4958 - 0.3)) / (0.4958 - 0.2118), 1);
  expect(weight(5000)).toBe(1);
});

it('gives weight 1 to everything where nothing is known', () => {
  expect(fitWeightCurve([], { maximumWeight: 8 }).steps.every(([, weight]) => weight === 1)).toBe(true);
  const even = fitWeightCurve(
    [
      { size: 1, documents: 500, dropped: 0 },
      { size: 2, documents: 500, dropped: 0 },
    ],
    { maximumWeight: 8 },
  );
  expect(even.steps.every(([, weight]) => weight === 1)).toBe(true);
});
