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
  /**
   * Removes lines that stand in more than `maximumDocuments` documents (Llama 3, arXiv:2407.21783, section 3.1.1: more than 6 times
   * in 30 million documents). After near-duplicate removal, so copies of a document do not count.
   */
  lines: z
    .strictObject({
      maximumDocuments: z.int().min(1).default(6),
      /** Shorter lines are never removed. */
      minimumCharacters: z.int().min(1).default(16),
      domains: z.array(z.string()).default(['documentation', 'other']),
    })
    .optional(),
  /**
   * Removes runs of at least `words` words that occurred before, word for word (Lee et al. 2022, arXiv:2107.06499: 50 tokens);
   * the first occurrence in document order stays.
   */
  substrings: z
    .strictObject({
      words: z.int().min(8).max(1000).default(50),
      domains: z.array(z.string()).default(['documentation', 'other']),
    })
    .optional(),
  /** A document left with fewer characters after lines or substrings were removed is dropped. */
  minimumCharactersLeft: z.int().min(1).default(64),
});

export type DeduplicationPlan = z.output<typeof deduplicationSchema>;
export type NearDuplicatePlan = Exclude<DeduplicationPlan['near'], false>;
