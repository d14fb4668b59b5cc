/**
 * A recipe: everything a run will do, as plain data. The parts that belong to a package are checked by that package; this
 * module checks what lies between them (domains that no source gives, contexts longer than the generated documents,
 * vocabularies that do not match …). Unknown keys are refused, every error names the setting and the remedy, and nothing
 * starts before the whole recipe is right.
 */
import { parseCurationPlan, type CurationPlanInput } from '@xgen-small/data-curation';
import { validateModelConfig, type ModelConfig } from '@xgen-small/model-core';
import {
  directPreferenceOptimizationStageSchema,
  proximalPolicyOptimizationStageSchema,
  supervisedFineTuningStageSchema,
} from '@xgen-small/posttrain';
import { parsePretrainStage, type PretrainStageInput } from '@xgen-small/pretrain';
import { z } from 'zod';
import { TrainerError } from '../errors.js';
import { backendChoices } from './backend-names.js';

const count = z.int().positive();
const seed = z.int().nonnegative();
const range = z
  .tuple([count, count])
  .refine(([low, high]) => low <= high, 'the first number must not exceed the second');
export const domainName = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'lower-case letters, digits and hyphens');
const stageName = z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'lower-case letters, digits and hyphens');

/** Documents made for training on, beside the curated ones. Each entry is a domain of its own in the mixtures. */
const generatedDocumentsSchema = z.discriminatedUnion('type', [
  z.strictObject({
    /** Planted facts and questions about them at the end; filler between the facts where `tokens` says how long. */
    type: z.literal('retrieval'),
    domain: domainName,
    documents: count,
    /** Tokens of a document, drawn between the two; default: facts and questions alone. */
    tokens: range.optional(),
    /** Fill documents up to the length drawn; default: up to a fifth shorter, and faster to make. */
    fillWhole: z.boolean().optional(),
    facts: range,
    questions: count,
  }),
  z.strictObject({
    /** A passage, then the same passage again: teaches copying from the context. */
    type: z.literal('repetition'),
    domain: domainName,
    documents: count,
    tokens: range,
  }),
]);

// Checked by the package that runs it; kept as written here, so that recipe.json shows what the author wrote.
const pretrainStage = z.custom<PretrainStageInput>(
  (value) => typeof value === 'object' && value !== null,
  'expected a pre-training stage',
);
const checkpoints = z.strictObject({ everySteps: count.optional(), everySeconds: z.number().positive().optional() });

export const recipeSchema = z.strictObject({
  name: stageName,
  description: z.string().default(''),
  seed: seed.default(0),
  compute: z
    .strictObject({
      backend: z.enum(backendChoices).default('auto'),
      /** Default: one a core. Results don't depend on it. */
      threads: count.max(1024).optional(),
      matmulPrecision: z.enum(['float32', 'tensorfloat32', 'bfloat16']).default('float32'),
    })
    .prefault({}),
  curation: z.custom<CurationPlanInput>(
    (value) => typeof value === 'object' && value !== null,
    'expected a curation plan',
  ),
  tokenizer: z.strictObject({
    vocabularySize: z
      .int()
      .min(261)
      .max(1 << 20),
    preTokenizer: z
      .enum(['llama3', 'llama3-single-digits', 'code', 'code-single-digits', 'gpt2'])
      .default('llama3-single-digits'),
    /** Bytes of curated text a domain that the merges are learned from. */
    trainingBytesPerDomain: count.default(8_000_000),
  }),
  generatedDocuments: z.array(generatedDocumentsSchema).default([]),
  model: z.strictObject({
    hiddenSize: count,
    intermediateSize: count,
    layers: count,
    queryHeads: count,
    keyValueHeads: count,
    headDimension: count.optional(),
    tieWordEmbeddings: z.boolean().default(true),
    rmsNormEpsilon: z.number().positive().default(1e-5),
    ropeBase: z.number().positive().default(10_000),
    /** Of the initial matrices; the embedding has its own. */
    initialStandardDeviation: z.number().positive().max(1).default(0.02),
    initialEmbeddingStandardDeviation: z.number().positive().max(1).default(0.02),
  }),
  pretrain: z.strictObject({ stages: z.array(pretrainStage).min(1), checkpoints: checkpoints.optional() }),
  extend: z.strictObject({ stages: z.array(pretrainStage).min(1), checkpoints: checkpoints.optional() }),
  sft: z.strictObject({
    problems: count,
    heldOutProblems: count.default(64),
    stage: supervisedFineTuningStageSchema,
    checkpoints: checkpoints.optional(),
  }),
  dpo: z.strictObject({
    problems: count,
    samplesPerPrompt: count.default(4),
    maximumPairs: count,
    /** Where none of a problem's samples is right, prefer the generator's solution; else such problems give no pair. */
    referenceSolutions: z.boolean().default(true),
    /** The last of the pairs, which are not trained on: the stage reports how many of them it ranks right. */
    heldOutPairs: z.number().int().nonnegative().default(0),
    temperature: z.number().positive().max(10).default(1),
    stage: directPreferenceOptimizationStageSchema,
    checkpoints: checkpoints.optional(),
  }),
  ppo: z.strictObject({
    problems: count,
    /** One run a seed; the first gives the final model, all give the spread. */
    seeds: z
      .array(seed)
      .min(1)
      .refine((seeds) => new Set(seeds).size === seeds.length, 'the seeds must differ'),
    stage: proximalPolicyOptimizationStageSchema,
    checkpoints: checkpoints.optional(),
  }),
  maths: z
    .strictObject({
      difficulty: z
        .array(z.literal([1, 2, 3]))
        .min(1)
        .default([1]),
      /** The same in the curation plan's generator, so that no held-out problem is trained on. */
      heldoutFraction: z.number().gt(0).max(0.5).default(0.05),
      maximumNewTokens: count.default(64),
    })
    .prefault({}),
  evaluation: z.strictObject({
    /** Held-out tokens a domain for the losses. */
    tokensPerDomain: count.default(100_000),
    needle: z.strictObject({
      lengths: z.array(count).min(1),
      depths: z.array(z.number().min(0).max(1)).min(1),
      samples: count.default(10),
    }),
    mathProblems: count.default(200),
    /** Sampled answers a problem, beside the greedy one. */
    mathSamples: count.default(4),
  }),
});

/** A recipe as its author writes it. */
export type RecipeInput = z.input<typeof recipeSchema>;
/** A recipe with every default filled in, as `recipe.json` has it. */
export type Recipe = z.output<typeof recipeSchema>;
export type GeneratedDocuments = Recipe['generatedDocuments'][number];

export function baseContextLength(recipe: Recipe): number {
  return Math.max(...recipe.pretrain.stages.map((stage) => stage.contextLength));
}

export function extendedContextLength(recipe: Recipe): number {
  return Math.max(...recipe.extend.stages.map((stage) => stage.contextLength));
}

/** The configuration that training starts from. */
export function initialModelConfig(recipe: Recipe): ModelConfig {
  const {
    ropeBase,
    headDimension,
    hiddenSize,
    intermediateSize,
    layers,
    queryHeads,
    keyValueHeads,
    tieWordEmbeddings,
    rmsNormEpsilon,
  } = recipe.model;
  return validateModelConfig({
    hiddenSize,
    intermediateSize,
    layers,
    queryHeads,
    keyValueHeads,
    tieWordEmbeddings,
    rmsNormEpsilon,
    headDimension: headDimension ?? hiddenSize / queryHeads,
    vocabularySize: recipe.tokenizer.vocabularySize,
    maximumPositions: baseContextLength(recipe),
    rope: { base: ropeBase },
    bosTokenId: 0,
    eosTokenId: [0, 2],
  });
}

/** Validates strictly and fills in defaults. @throws TrainerError INVALID_RECIPE that names every wrong setting. */
export function parseRecipe(input: unknown, origin: string): Recipe {
  const parsed = recipeSchema.safeParse(input);
  if (!parsed.success) {
    throw invalid(
      origin,
      parsed.error.issues.map((issue) => `${issue.path.map(String).join('.') || 'recipe'}: ${issue.message}`),
      parsed.error,
    );
  }
  const recipe = parsed.data;
  const problems: string[] = [];
  const check = (path: string, action: () => unknown): void => {
    try {
      action();
    } catch (error) {
      problems.push(`${path}: ${(error as Error).message}`);
    }
  };
  check('curation', () => parseCurationPlan(recipe.curation));
  recipe.pretrain.stages.forEach((stage, i) => check(`pretrain.stages.${i}`, () => parsePretrainStage(stage)));
  recipe.extend.stages.forEach((stage, i) => check(`extend.stages.${i}`, () => parsePretrainStage(stage)));
  check('model', () => initialModelConfig(recipe));
  if (problems.length === 0) problems.push(...crossFieldProblems(recipe));
  if (problems.length > 0) throw invalid(origin, problems);
  return recipe;
}

function crossFieldProblems(recipe: Recipe): string[] {
  const problems: string[] = [];
  const generated = new Map(recipe.generatedDocuments.map((documents) => [documents.domain, documents]));
  const plan = parseCurationPlan(recipe.curation);
  const curated = plan.mixture.targets ? new Set(Object.keys(plan.mixture.targets)) : undefined;
  const names = new Set<string>();
  for (const [group, stages] of [
    ['pretrain', recipe.pretrain.stages],
    ['extend', recipe.extend.stages],
  ] as const) {
    stages.forEach((stage, index) => {
      const path = `${group}.stages.${index}`;
      if (!/^[a-z0-9][a-z0-9-]*$/.test(stage.name)) {
        problems.push(
          `${path}.name: ${JSON.stringify(stage.name)} is also a folder's name; use lower-case letters, digits and hyphens`,
        );
      }
      if (names.has(stage.name))
        problems.push(`${path}.name: two stages are called "${stage.name}"; give each its own name`);
      names.add(stage.name);
      for (const domain of Object.keys(stage.mixture)) {
        if (curated && !curated.has(domain) && !generated.has(domain)) {
          problems.push(
            `${path}.mixture.${domain}: nothing gives this domain; known are ${[...curated, ...generated.keys()].join(', ')} (curation.mixture.targets, generatedDocuments)`,
          );
        }
        const documents = generated.get(domain);
        if (documents?.tokens && documents.tokens[1] > stage.contextLength) {
          problems.push(
            `${path}.mixture.${domain}: its documents have up to ${documents.tokens[1]} tokens and would be cut at the context of ${stage.contextLength}; shorten them or raise contextLength`,
          );
        }
      }
      if (stage.tokensPerStep < stage.contextLength) {
        problems.push(
          `${path}.tokensPerStep: ${stage.tokensPerStep} is less than the context of ${stage.contextLength}; raise it`,
        );
      }
    });
  }
  let longest = baseContextLength(recipe);
  recipe.extend.stages.forEach((stage, index) => {
    if (stage.contextLength <= longest) {
      problems.push(
        `extend.stages.${index}.contextLength: ${stage.contextLength} does not extend the ${longest} before it; raise it`,
      );
    }
    if (!stage.rope) {
      problems.push(
        `extend.stages.${index}.rope: missing; give the RoPE base (or scaling) of this context, else the new positions are untrained`,
      );
    }
    longest = Math.max(longest, stage.contextLength);
  });
  for (const [path, context] of [
    ['sft.stage.contextLength', recipe.sft.stage.contextLength],
    ['dpo.stage.contextLength', recipe.dpo.stage.contextLength],
    ['evaluation.needle.lengths', Math.max(...recipe.evaluation.needle.lengths)],
  ] as const) {
    if (context > longest)
      problems.push(
        `${path}: ${context} is longer than the extended context of ${longest}; lower it or extend further`,
      );
  }
  for (const source of plan.sources) {
    if (source.type === 'mathProblems' && source.heldoutFraction !== recipe.maths.heldoutFraction) {
      problems.push(
        `maths.heldoutFraction: ${recipe.maths.heldoutFraction} differs from the ${source.heldoutFraction} of the source "${source.name}"; held-out problems would be trained on`,
      );
    }
  }
  if (generated.size < recipe.generatedDocuments.length)
    problems.push('generatedDocuments: two entries have the same domain; give each its own');
  return problems;
}

function invalid(origin: string, problems: readonly string[], cause?: unknown): TrainerError {
  return new TrainerError(
    'INVALID_RECIPE',
    `The recipe ${origin} is not valid:\n${problems.map((line) => `  - ${line}`).join('\n')}`,
    {
      value: problems,
      remedy: 'Correct these settings; nothing was started.',
      cause,
    },
  );
}
