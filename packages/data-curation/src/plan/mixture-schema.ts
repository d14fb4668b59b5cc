/** Settings of the mixture, as a whole and by training stage. */

import { z } from 'zod';
import { weightCurveSchema } from '../mixture/weight-curves.js';

export const domainNameSchema = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'lower-case letters, digits and hyphens');
const targets = z.record(domainNameSchema, z.number().min(0).max(1));
const maximumRepeats = z.number().min(1).max(1000);

export const mixtureSchema = z.strictObject({
  /** Share of weighted bytes by domain; has to sum to 1. Documents of other domains are left out. Default: as it comes. */
  targets: targets.optional(),
  weightCurve: weightCurveSchema.default('fineweb2'),
  /** No document has a weight above this. */
  maximumRepeats: maximumRepeats.default(8),
  /** Weighted bytes wanted in one pass; default: what the documents hold. Reduced where the cap on repeats demands it. */
  budgetBytes: z.int().min(1).optional(),
  /** Bytes of text a token, to turn budgets of tokens into bytes: one number or by domain. */
  bytesPerToken: z.union([z.number().positive(), z.record(domainNameSchema, z.number().positive())]).default(4),
  /**
   * Training stages, such as broad, anneal and long. Each becomes a file with a whole number of repeats for each document, solved for the
   * stage's targets and token budget under its cap.
   */
  stages: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'lower-case letters, digits and hyphens'),
        targets: targets.optional(),
        budgetTokens: z.int().min(1),
        maximumRepeats: maximumRepeats.optional(),
        weightCurve: weightCurveSchema.optional(),
        /** Documents scored below are left out of the stage. */
        minimumQuality: z.number().min(0).max(1).default(0),
        /** Shorter documents are left out of the stage. */
        minimumTokens: z.int().min(0).default(0),
      }),
    )
    .default([]),
});

export type MixturePlanSettings = z.output<typeof mixtureSchema>;
export type StagePlan = MixturePlanSettings['stages'][number];

export function bytesPerTokenOf(plan: MixturePlanSettings, domain: string): number {
  return typeof plan.bytesPerToken === 'number' ? plan.bytesPerToken : (plan.bytesPerToken[domain] ?? 4);
}
