/**
 * The plan: pure data that says everything a curation does. Unknown keys are refused, defaults are filled in, and what does not
 * fit together is named with its remedy before any file is touched.
 */

import { z } from 'zod';
import { CurationError } from '../errors.js';
import { defaultFilters, filterSchema } from '../filters/registry.js';
import { canonicalJson } from '../util/canonical-json.js';
import { sha256OfText } from '../util/files.js';
import { mixtureSchema } from './mixture-schema.js';
import { decontaminationSchema, domainsSchema, qualitySchema } from './reference-schema.js';
import { deduplicationSchema } from './deduplication-schema.js';
import { sourceSchema } from './source-schema.js';

/** Raised whenever the same plan and input would give other bytes than before; part of the plan's hash. */
export const curationFormatVersion = 1;

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
  mixture: mixtureSchema.prefault({}),
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
  checkTargets('mixture.targets', plan.mixture.targets);
  for (const stage of plan.mixture.stages) checkTargets(`mixture.stages (${stage.name}).targets`, stage.targets);
  const stages = plan.mixture.stages.map((stage) => stage.name);
  const repeatedStage = stages.find((name, index) => stages.indexOf(name) !== index);
  if (repeatedStage !== undefined) {
    throw new CurationError('PLAN_INVALID', `Two stages are called "${repeatedStage}" (mixture.stages[].name).`, {
      value: repeatedStage,
      remedy: 'Give each stage its own name: it names a file.',
    });
  }
  return plan;
}

function checkTargets(setting: string, targets: Record<string, number> | undefined): void {
  if (targets === undefined) return;
  const sum = Object.values(targets).reduce((total, share) => total + share, 0);
  if (Math.abs(sum - 1) > 1e-6) {
    throw new CurationError('PLAN_INVALID', `${setting} sums to ${sum}, not 1.`, {
      value: targets,
      remedy: 'Scale the shares so that they sum to 1.',
    });
  }
}

/** SHA-256 of the plan with its defaults, and of the format version: equal hash and input, equal bytes. */
export function hashPlan(plan: CurationPlan): string {
  return sha256OfText(canonicalJson({ formatVersion: curationFormatVersion, plan }));
}
