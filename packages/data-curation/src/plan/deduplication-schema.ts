/** Settings of duplicate removal. */

import { z } from 'zod';

export const deduplicationSchema = z.strictObject({
  /** Same text, byte for byte, after repair and filters. */
  exact: z.boolean().default(true),
  /**
   * MinHash with banding. Two documents of Jaccard similarity s over their sets of word n-grams become candidates, and so
   * duplicates, with probability 1 - (1 - s^rows)^bands. Default: FineWeb's 14 bands of 8 rows over 5-grams (about 0.72 at even odds).
   */
  near: z
    .union([
      z.literal(false),
      z.strictObject({
        shingleWords: z.int().min(1).max(32).default(5),
        bands: z.int().min(1).max(64).default(14),
        rows: z.int().min(1).max(32).default(8),
        seed: z.int().min(0).default(1),
      }),
    ])
    .prefault({}),
});

export type DeduplicationPlan = z.output<typeof deduplicationSchema>;
export type NearDuplicatePlan = Exclude<DeduplicationPlan['near'], false>;
