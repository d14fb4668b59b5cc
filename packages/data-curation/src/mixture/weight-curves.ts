/**
 * Duplicate count → weight. A document that the web repeats a little is often good; one that it repeats a thousand times is
 * mostly a template. The presets are steps: the weight of the last step whose count is not above the document's.
 * - `txt360` (Tang et al. 2024, TxT360, "global deduplication and upsampling"): 1 → 1, 2–5 → 3, 6–100 → 5, 101–1,000 → 8, more → 10.
 * - `fineweb2` (the weights that the dataset's card recommends): {1: 1, 2: 2, 3: 3, 5: 5, 100: 8, 1000: 1}.
 * - `none`: every document once.
 * - `fitted`: from the share that the filters drop by cluster size, as FineWeb-2's paper does; see `fit-weight-curve.ts`.
 */

import { z } from 'zod';

export type WeightStep = readonly [minimumCount: number, weight: number];

export const weightCurvePresets = {
  none: [[1, 1]],
  txt360: [
    [1, 1],
    [2, 3],
    [6, 5],
    [101, 8],
    [1001, 10],
  ],
  fineweb2: [
    [1, 1],
    [2, 2],
    [3, 3],
    [5, 5],
    [100, 8],
    [1000, 1],
  ],
} as const satisfies Record<string, readonly WeightStep[]>;

export const weightCurveSchema = z.union([
  z.enum(['none', 'txt360', 'fineweb2', 'fitted']),
  z
    .array(z.tuple([z.int().min(1), z.number().positive().max(1000)]))
    .min(1)
    .refine((steps) => steps[0][0] === 1, 'the first step has to start at a count of 1')
    .refine((steps) => steps.every((step, index) => index === 0 || step[0] > steps[index - 1][0]), {
      message: 'the counts of the steps have to rise',
    }),
]);

export type WeightCurve = z.output<typeof weightCurveSchema>;

/** A curve whose steps are known: all but `fitted`. */
export type KnownWeightCurve = Exclude<WeightCurve, 'fitted'> | readonly WeightStep[];

export function weightForCount(curve: KnownWeightCurve, count: number): number {
  const steps: readonly WeightStep[] = typeof curve === 'string' ? weightCurvePresets[curve] : curve;
  let weight = steps[0][1];
  for (const [minimum, value] of steps) if (count >= minimum) weight = value;
  return weight;
}
