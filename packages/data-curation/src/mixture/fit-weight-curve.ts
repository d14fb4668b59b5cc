/**
 * A weight curve fitted to the corpus: FineWeb-2's rehydration (Penedo et al. 2025, arXiv:2506.20920, section 4.5; `misc/rehydration` of
 * its repository). How often the filters drop text of a cluster size says how good text of that size is. Each cluster counts once, in the
 * rate of its size and in the overall rate. A size dropped as often as the whole, or more, gets weight 1, the size dropped least the
 * maximum, the others lie on the line between; weights are averaged over five neighbouring sizes, but for the two first and the two
 * last, and rounded. The longest clusters, 0.1 % of all, are one size.
 *
 * Two things differ. FineWeb-2 removes duplicates first and filters the one document that is left; here the filters run first, so the
 * rate of a size comes from all documents of its clusters: the same in expectation, with less noise. And sizes with fewer than
 * `minimumClusters` clusters are joined to their neighbours, since FineWeb-2's corpora have thousands of clusters of nearly every size and
 * smaller corpora do not; with 1 the weights are FineWeb-2's own. Cost: O(sizes).
 */

import type { WeightStep } from './weight-curves.js';

export interface ClusterSizeCount {
  /** Documents in a cluster, itself included; 1 for a document without duplicates. */
  size: number;
  /** Documents in all clusters of this size. */
  documents: number;
  /** Of these, dropped by the filters. */
  dropped: number;
}

export interface FittedBucket {
  /** Smallest cluster size; the next bucket's is the end. */
  minimum: number;
  clusters: number;
  documents: number;
  /** Share dropped, each cluster counted once. */
  rate: number;
  weight: number;
}

export interface FittedCurve {
  steps: WeightStep[];
  /** Share dropped in the whole corpus, each cluster counted once. */
  overallRate: number;
  buckets: FittedBucket[];
}

export interface FitOptions {
  /** The weight of the size dropped least; FineWeb-2 tried 3 to 10. */
  maximumWeight: number;
  /** Sizes with fewer clusters are joined to their neighbours; default 100. */
  minimumClusters?: number;
}

interface Bucket {
  minimum: number;
  clusters: number;
  documents: number;
  /** Clusters dropped; a cluster of which a part is dropped counts for that part. */
  dropped: number;
}

const tailShare = 0.001;
const smoothedSizes = 5;
/** Rates closer than this are the same: they are quotients of sums. */
const tolerance = 1e-9;

export function fitWeightCurve(
  sizes: readonly ClusterSizeCount[],
  { maximumWeight, minimumClusters = 100 }: FitOptions,
): FittedCurve {
  const counted = sizes
    .filter(({ documents }) => documents > 0)
    .map(({ size, documents, dropped }) => ({
      minimum: size,
      clusters: documents / size,
      documents,
      dropped: dropped / size,
    }))
    .sort((a, b) => a.minimum - b.minimum);
  const buckets = joinSmall(joinTail(counted), minimumClusters);
  const overallRate = rateOf(sum(buckets));
  const rates = buckets.map(rateOf);
  const weights = weightsOfRates(rates, overallRate, maximumWeight);
  return {
    steps:
      buckets.length === 0
        ? [[1, 1]]
        : stepsOf(buckets.map(({ minimum }, index) => [index === 0 ? 1 : minimum, weights[index]])),
    overallRate: shown(overallRate),
    buckets: buckets.map(({ minimum, clusters, documents }, index) => ({
      minimum,
      clusters: Math.round(clusters),
      documents,
      rate: shown(rates[index]),
      weight: weights[index],
    })),
  };
}

/** The weight of each size, in order, from its rate. */
function weightsOfRates(rates: readonly number[], overallRate: number, maximumWeight: number): number[] {
  const smallest = Math.min(overallRate, ...rates);
  const exact = rates.map((rate) =>
    rate >= overallRate * (1 - tolerance)
      ? 1
      : 1 + (maximumWeight - 1) * ((overallRate - rate) / (overallRate - smallest)),
  );
  const reach = Math.floor(smoothedSizes / 2);
  return exact.map((weight, index) => {
    const isEdge = index < reach || index >= exact.length - reach;
    const window = isEdge ? [weight] : exact.slice(index - reach, index + reach + 1);
    return roundHalfToEven(window.reduce((total, value) => total + value, 0) / window.length);
  });
}

/** Puts the largest sizes together: as few as hold 0.1 % of all clusters. */
function joinTail(buckets: readonly Bucket[]): Bucket[] {
  const all = sum(buckets).clusters;
  let first = buckets.length;
  for (let clusters = 0; first > 0 && clusters < tailShare * all;) clusters += buckets[--first].clusters;
  return first >= buckets.length - 1 ? [...buckets] : [...buckets.slice(0, first), sum(buckets.slice(first))];
}

/** Joins neighbours, from the smallest size on, until each bucket has enough clusters. */
function joinSmall(buckets: readonly Bucket[], minimumClusters: number): Bucket[] {
  const joined: Bucket[] = [];
  let open: Bucket[] = [];
  for (const bucket of buckets) {
    open.push(bucket);
    const whole = sum(open);
    if (whole.clusters < minimumClusters) continue;
    joined.push(whole);
    open = [];
  }
  if (open.length === 0) return joined;
  const last = joined.pop();
  return [...joined, sum(last === undefined ? open : [last, ...open])];
}

function sum(buckets: readonly Bucket[]): Bucket {
  const total: Bucket = { minimum: buckets[0]?.minimum ?? 1, clusters: 0, documents: 0, dropped: 0 };
  for (const { clusters, documents, dropped } of buckets) {
    total.clusters += clusters;
    total.documents += documents;
    total.dropped += dropped;
  }
  return total;
}

function rateOf({ clusters, dropped }: Bucket): number {
  return clusters === 0 ? 0 : dropped / clusters;
}

/** Without the steps that change nothing. */
function stepsOf(steps: readonly WeightStep[]): WeightStep[] {
  return steps.filter(([, weight], index) => index === 0 || weight !== steps[index - 1][1]);
}

/** As NumPy rounds, which FineWeb-2's weights went through. */
function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

function shown(rate: number): number {
  return Number(rate.toPrecision(6));
}
