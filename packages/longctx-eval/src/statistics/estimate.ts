/**
 * A mean with its 95 % interval. Wilson's score interval (Wilson 1927) for yes/no scores: sound at 0, at 1 and for few samples,
 * where the normal approximation is not. For other scores a percentile bootstrap, seeded: the same scores give the same interval.
 */

import { seededRandom } from '../random.js';
import type { Estimate } from '../runs/types.js';

const normalQuantile975 = 1.959963984540054;

export function wilsonEstimate(successes: number, count: number): Estimate {
  if (count === 0) return { mean: 0, low: 0, high: 1, count: 0, method: 'wilson' };
  const z = normalQuantile975;
  const p = successes / count;
  const denominator = 1 + (z * z) / count;
  const centre = (p + (z * z) / (2 * count)) / denominator;
  const half = (z / denominator) * Math.sqrt((p * (1 - p)) / count + (z * z) / (4 * count * count));
  // At 0 and 1 the bound is exact; rounding would leave 1e-17 there.
  const low = successes === 0 ? 0 : Math.max(0, centre - half);
  const high = successes === count ? 1 : Math.min(1, centre + half);
  return { mean: p, low, high, count, method: 'wilson' };
}

export function bootstrapEstimate(
  values: readonly number[],
  { seed = 0, resamples = 2000 }: { seed?: number; resamples?: number } = {},
): Estimate {
  const count = values.length;
  if (count === 0) return { mean: 0, low: 0, high: 1, count: 0, method: 'bootstrap' };
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const random = seededRandom(seed, 'bootstrap', count);
  const means = new Float64Array(resamples);
  for (let r = 0; r < resamples; r++) {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += values[random.integer(count)] ?? 0;
    means[r] = sum / count;
  }
  means.sort();
  return { mean, low: quantile(means, 0.025), high: quantile(means, 0.975), count, method: 'bootstrap' };
}

/** Wilson's interval where every score is 0 or 1, else the bootstrap. */
export function estimate(values: readonly number[]): Estimate {
  const binary = values.every((value): boolean => value === 0 || value === 1);
  if (!binary) return bootstrapEstimate(values);
  return wilsonEstimate(
    values.reduce((sum, value) => sum + value, 0),
    values.length,
  );
}

/** Linear interpolation between the closest ranks of sorted values. */
function quantile(sorted: Float64Array, share: number): number {
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below] ?? 0;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? low;
  return low + (high - low) * (position - below);
}
