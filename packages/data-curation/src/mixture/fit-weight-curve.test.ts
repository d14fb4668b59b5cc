import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ClusterSizeCount } from './fit-weight-curve.js';
import { fitWeightCurve } from './fit-weight-curve.js';

/** Sizes of so many clusters each, of which a share is dropped. */
const sizesOf = (rates: readonly number[], clusters = 1000): ClusterSizeCount[] =>
  rates.map((rate, index) => ({
    size: index + 1,
    documents: (index + 1) * clusters,
    dropped: Math.round(rate * clusters) * (index + 1),
  }));

describe('a weight curve fitted to what the filters drop', () => {
  it('follows the rule, worked by hand', () => {
    // Overall 2.8 / 7 = 0.4. On the line from 0.4 (weight 1) to 0.1 (weight 10): 1, 1, 4, 10, 7, 4, 1. Means of five, the two
    // at either end left: 1, 1, (1 + 1 + 4 + 10 + 7) / 5 = 4.6, (1 + 4 + 10 + 7 + 4) / 5 = 5.2, (4 + 10 + 7 + 4 + 1) / 5 = 5.2, 4, 1.
    const curve = fitWeightCurve(sizesOf([0.9, 0.5, 0.3, 0.1, 0.2, 0.3, 0.5]), { maximumWeight: 10 });
    expect(curve.overallRate).toBe(0.4);
    expect(curve.buckets.map(({ rate }) => rate)).toEqual([0.9, 0.5, 0.3, 0.1, 0.2, 0.3, 0.5]);
    expect(curve.buckets.map(({ weight }) => weight)).toEqual([1, 1, 5, 5, 5, 4, 1]);
    expect(curve.steps).toEqual([
      [1, 1],
      [3, 5],
      [6, 4],
      [7, 1],
    ]);
  });

  it('treats documents without duplicates like any other size', () => {
    const curve = fitWeightCurve(sizesOf([0.1, 0.5, 0.6]), { maximumWeight: 4 });
    expect(curve.steps).toEqual([
      [1, 4],
      [2, 1],
    ]);
  });

  it('counts each cluster once', () => {
    // 60 of 100 single documents, and one template of 900 copies: 61 of 101 clusters, not 960 of 1,000 documents.
    const curve = fitWeightCurve(
      [
        { size: 1, documents: 100, dropped: 60 },
        { size: 900, documents: 900, dropped: 900 },
      ],
      { maximumWeight: 10, minimumClusters: 1 },
    );
    expect(curve.overallRate).toBeCloseTo(61 / 101, 6);
    expect(curve.buckets.map(({ clusters, rate, weight }) => [clusters, rate, weight])).toEqual([
      [100, 0.6, 10],
      [1, 1, 1],
    ]);
  });

  it('takes the 0.1 % largest clusters as one size, and joins sizes of few clusters', () => {
    const sizes: ClusterSizeCount[] = [
      { size: 1, documents: 99_790, dropped: 49_895 },
      { size: 2, documents: 40, dropped: 4 },
      { size: 3, documents: 270, dropped: 27 },
      { size: 40, documents: 1600, dropped: 1600 },
      { size: 50, documents: 2500, dropped: 2500 },
      { size: 60, documents: 600, dropped: 600 },
    ];
    // 100,000 clusters: the tail has 100 of them or more, which are the last three sizes. 20 pairs are too few and go with the threes.
    const { buckets } = fitWeightCurve(sizes, { maximumWeight: 10 });
    expect(buckets.map(({ minimum, clusters, rate }) => [minimum, clusters, rate])).toEqual([
      [1, 99_790, 0.5],
      [2, 110, 0.1],
      [40, 100, 1],
    ]);
    expect(buckets.map(({ weight }) => weight)).toEqual([1, 10, 1]);
  });

  it('gives weight 1 to everything where nothing is known', () => {
    expect(fitWeightCurve([], { maximumWeight: 8 }).steps).toEqual([[1, 1]]);
    for (const rate of [0, 0.3, 0.7, 1]) {
      expect(fitWeightCurve(sizesOf([rate, rate, rate]), { maximumWeight: 8 }).steps).toEqual([[1, 1]]);
    }
    expect(fitWeightCurve(sizesOf([0.5, 0.1], 40), { maximumWeight: 8 }).steps).toEqual([[1, 1]]);
  });

  const published = JSON.parse(
    readFileSync(new URL('../../test/fineweb2-rehydration.json', import.meta.url), 'utf8'),
  ) as {
    languages: Record<
      string,
      {
        globalRemovalRate: number;
        sizes: { size: number; kept: number; removedPercent: number }[];
        weightsUpTo3: Record<string, number>;
        weightsUpTo10: Record<string, number>;
      }
    >;
  };

  it.each(Object.entries(published.languages))('gives the weights that FineWeb-2 published for %s', (_, language) => {
    const sizes = language.sizes.map(({ size, kept, removedPercent }) => {
      const clusters = Math.round(kept / (1 - removedPercent / 100));
      return { size, documents: clusters * size, dropped: (clusters - kept) * size };
    });
    for (const [maximumWeight, weights] of [
      [3, language.weightsUpTo3],
      [10, language.weightsUpTo10],
    ] as const) {
      const curve = fitWeightCurve(sizes, { maximumWeight, minimumClusters: 1 });
      expect(curve.overallRate).toBeCloseTo(language.globalRemovalRate / 100, 5);
      expect(curve.steps).toEqual(Object.entries(weights).map(([size, weight]) => [Number(size), weight]));
    }
  });
});
