/**
 * The plan: pure data that says everything a curation does. Unknown keys are refused, defaults are filled in, and what does not
 * fit together is named with its remedy before any file is touched.
 */

import { z } from 'zod';
import { CurationError } from '../errors.js';
import { defaultFilters, filterSchema } from '../filters/registry.js';
import { weightCurveSchema } from '../mixture/weight-curves.js';
import { canonicalJson } from '../util/canonical-json.js';
import { sha256OfText } from '../util/files.js';
import { decontaminationSchema, domainsSchema, qualitySchema } from './reference-schema.js';
import { deduplicationSchema } from './deduplication-schema.js';
import { sourceSchema } from './source-schema.js';

/** Raised whenever the same plan and input would give other bytes than before; part of the plan's hash. */
export const curationFormatVersion = 1;

export const domainNameSchema = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'lower-case letters, digits and hyphens');

const curationPlanSchema = z.strictObject({
  /** Salt of every choice made by hash: samples, held-out documents, examples. */
  seed: z.int().min(0).default(0),
  sources: z.array(sourceSchema).min(1),
  /** Applied in this order; each may be limited to some domains. */
  filters: z.array(filterSchema).prefault(defaultFilters),
  domains: domainsSchema.default({ method: 'rules' }),
  quality: qualitySchema.default([{ method: 'rules' }]),
  /** Evaluation sets that no training document may share n-grams with. */
  decontamination: decontaminationSchema.optional(),
  deduplication: deduplicationSchema.prefault({}),
  heldout: z
    .strictObject({
      /** Share of duplicate clusters set aside. */
      fraction: z.number().min(0).max(0.5).default(0.01),
    })
    .prefault({}),
  mixture: z
    .strictObject({
      /** Share of weighted bytes by domain; has to sum to 1. Documents of other domains are left out. Default: as it comes. */
      targets: z.record(domainNameSchema, z.number().min(0).max(1)).optional(),
      weightCurve: weightCurveSchema.default('fineweb2'),
      /** No document has a weight above this. */
      maximumRepeats: z.number().min(1).max(1000).default(8),
      /** Weighted bytes wanted in one pass; default: what the documents hold. Reduced where the cap on repeats demands it. */
      budgetBytes: z.int().min(1).optional(),
    })
    .prefault({}),
  output: z
    .strictObject({
      /** UTF-8 bytes of text a shard. */
      shardBytes: z
        .int()
        .min(1024)
        .default(128 * 1024 * 1024),
      /** Kept examples for each reason to drop, and sampled documents for each domain. */
      examples: z.int().min(0).max(50).default(5),
    })
    .prefault({}),
  /** What to do with input that cannot be read: count and name it, or stop. */
  onBadInput: z.enum(['skip', 'fail']).default('skip'),
});

/** A plan as a user writes it: defaults may be left out. */
export type CurationPlanInput = z.input<typeof curationPlanSchema>;
/** A plan with every default filled in. */
export type CurationPlan = z.output<typeof curationPlanSchema>;

/** Validates strictly. @throws CurationError `PLAN_INVALID` naming the settings and the remedy. */
export function parseCurationPlan(input: unknown): CurationPlan {
  const parsed = curationPlanSchema.safeParse(input);
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'plan'}: ${issue.message}`);
    throw new CurationError('PLAN_INVALID', `The curation plan is not valid: ${issues.join('; ')}.`, {
      value: input,
      remedy: 'Correct the settings named.',
      cause: parsed.error,
    });
  }
  const plan = parsed.data;
  const names = plan.sources.map((source) => source.name);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) {
    throw new CurationError('PLAN_INVALID', `Two sources are called "${repeated}" (sources[].name).`, {
      value: repeated,
      remedy: 'Give each source its own name: ids begin with it.',
    });
  }
  const { targets } = plan.mixture;
  if (targets !== undefined) {
    const sum = Object.values(targets).reduce((total, share) => total + share, 0);
    if (Math.abs(sum - 1) > 1e-6) {
      throw new CurationError('PLAN_INVALID', `mixture.targets sums to ${sum}, not 1.`, {
        value: targets,
        remedy: 'Scale the shares so that they sum to 1.',
      });
    }
  }
  return plan;
}

/** SHA-256 of the plan with its defaults, and of the format version: equal hash and input, equal bytes. */
export function hashPlan(plan: CurationPlan): string {
  return sha256OfText(canonicalJson({ formatVersion: curationFormatVersion, plan }));
}
