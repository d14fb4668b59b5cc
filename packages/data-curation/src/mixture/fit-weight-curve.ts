/**
 * A weight curve fitted to the corpus, after FineWeb-2 (Penedo et al. 2025, arXiv:2506.20920, section on rehydration): the share
 * of documents that the filters drop, by cluster size, says how good text of that size is. Sizes dropped as often as the whole
 * corpus, or more, get weight 1; the size dropped least gets `maximumWeight`; between them the weight is linear. Documents without
 * duplicates are the unit and keep weight 1. Cost: O(sizes).
 */

import type { WeightStep } from './weight-curves.js';

export interface ClusterSizeCount {
  size: number;
  documents: number;
  /** Of these, dropped by the filters. */
  dropped: number;
}

export interface FittedCurve {
  steps: WeightStep[];
  /** Share dropped in the whole corpus. */
  overallRate: number;
  buckets: { minimum: number; documents: number; rate: number; weight: number }[];
}

const edges = [1, 2, 3, 4, 5, 6, 8, 11, 16, 21, 51, 101, 501, 1001, 10_001];

export interface FitOptions {
  maximumWeight: number;
  /** Buckets with fewer documents are joined to the one before; default 100. */
  minimumDocuments?: number;
}

export function fitWeightCurve(
  sizes: readonly ClusterSizeCount[],
  { maximumWeight, minimumDocuments = 100 }: FitOptions,
): FittedCurve {
  const total = sizes.reduce((sum, { documents }) => sum + documents, 0);
  const overallRate = total === 0 ? 0 : sizes.reduce((sum, { dropped }) => sum + dropped, 0) / total;
  const buckets: { minimum: number; documents: number; dropped: number }[] = [];
  for (const [index, minimum] of edges.entries()) {
    const next = edges[index + 1] ?? Infinity;
    const inside = sizes.filter(({ size }) => size >= minimum && size < next);
    const documents = inside.reduce((sum, entry) => sum + entry.documents, 0);
    const dropped = inside.reduce((sum, entry) => sum + entry.dropped, 0);
    // The first bucket, single documents, is the unit and stays apart.
    const last = buckets.length > 1 ? buckets.at(-1) : undefined;
    if (last !== undefined && (documents < minimumDocuments || last.documents < minimumDocuments)) {
      last.documents += documents;
      last.dropped += dropped;
    } else {
      buckets.push({ minimum, documents, dropped });
    }
  }
  const rated = buckets.map(({ minimum, documents, dropped }) => ({
    minimum,
    documents,
    rate: documents === 0 ? overallRate : dropped / documents,
  }));
  const smallest = Math.min(overallRate, ...rated.slice(1).map(({ rate }) => rate));
  const weighted = rated.map(({ minimum, documents, rate }) => {
    const gain = overallRate === smallest ? 0 : Math.max(0, (overallRate - rate) / (overallRate - smallest));
    const weight = minimum === 1 ? 1 : 1 + (maximumWeight - 1) * gain;
    return { minimum, documents, rate: Number(rate.toPrecision(6)), weight: Math.round(weight * 100) / 100 };
  });
  return {
    steps: weighted.map(({ minimum, weight }) => [minimum, weight]),
    overallRate: Number(overallRate.toPrecision(6)),
    buckets: weighted,
  };
}
