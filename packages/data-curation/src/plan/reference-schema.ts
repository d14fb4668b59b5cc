/** Settings that name files besides the sources: classifiers, and evaluation sets to keep out of training. */

import { z } from 'zod';

export const domainsSchema = z.discriminatedUnion('method', [
  /** File names and what lines look like: `code`, `documentation`, `maths`, `other`. */
  z.strictObject({ method: z.literal('rules') }),
  /** The labels of a classifier made by `trainTextClassifier`; below the probability, `other`. */
  z.strictObject({
    method: z.literal('classifier'),
    model: z.string().min(1),
    minimumProbability: z.number().min(0).max(1).default(0.5),
  }),
]);

/** The first entry whose `domains` hold the document's domain scores it (an entry without `domains` scores all). */
export const qualitySchema = z.array(
  z.discriminatedUnion('method', [
    z.strictObject({ method: z.literal('rules'), domains: z.array(z.string()).optional() }),
    z.strictObject({
      method: z.literal('classifier'),
      domains: z.array(z.string()).optional(),
      model: z.string().min(1),
      /** The label whose probability is the score. */
      label: z.string().min(1).default('high'),
    }),
  ]),
);

export const decontaminationSchema = z.strictObject({
  sets: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        /** JSON Lines, plain or compressed (.gz, .zst). */
        path: z.string().min(1),
        /** Fields to look for; each is checked for itself. */
        fields: z.array(z.string().min(1)).min(1),
      }),
    )
    .min(1),
  /** Words in a row that have to be shared. */
  ngramWords: z.int().min(3).max(100).default(13),
  /** Documents sharing at least this many n-grams with one item are dropped. */
  minimumMatches: z.int().min(1).default(1),
});

export type DomainsPlan = z.output<typeof domainsSchema>;
export type QualityPlan = z.output<typeof qualitySchema>;
export type DecontaminationPlan = z.output<typeof decontaminationSchema>;
