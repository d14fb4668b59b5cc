/**
 * The recipes of the three stages: strict zod schemas (unknown keys refused, numbers bounded, cross-field rules that
 * name the setting), their input types and their resolved types with every default filled in.
 */
import type { LearningRateSchedule } from '@xgen-small/pretrain';
import { recomputeModes } from '@xgen-small/model-core';
import { z } from 'zod';
import { PosttrainError } from '../errors.js';

const count = z.number().int().positive();
const fraction = z.number().min(0).max(1);

/** A number of updates or a share of all of them, as in pre-training. */
const spanSchema = z.union([z.strictObject({ steps: z.number().int().nonnegative() }), z.strictObject({ fraction })]);

/** Pre-training's schedules; a bare number is a constant rate. */
const learningRateSchema = z
  .union(
    [
      z.number().positive().max(1),
      z.strictObject({
        type: z.literal('warmupStableDecay'),
        peak: z.number().positive().max(1),
        warmup: spanSchema.optional(),
        decay: spanSchema.optional(),
        decayShape: z.enum(['linear', 'oneMinusSqrt']).optional(),
        final: z.number().nonnegative().optional(),
      }),
      z.strictObject({
        type: z.literal('cosine'),
        peak: z.number().positive().max(1),
        warmup: spanSchema.optional(),
        final: z.number().nonnegative().optional(),
      }),
    ],
    { error: "expected a positive number, or a schedule of type 'warmupStableDecay' or 'cosine'" },
  )
  .transform((rate): LearningRateSchedule =>
    typeof rate === 'number' ? { type: 'warmupStableDecay', peak: rate } : rate,
  );

const recomputeMode = z.enum(recomputeModes);

const commonShape = {
  /** Names the stage in metrics and progress; default 'sft', 'dpo', 'ppo'. */
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]*$/, 'use lower-case letters, digits, dots and dashes')
    .optional(),
  /** One rate, or a schedule over the stage's updates (PPO: over its iterations). */
  learningRate: learningRateSchema,
  optimizer: z
    .strictObject({
      /** 'muon': orthogonalised updates for the matrices inside the blocks, AdamW for the rest. */
      type: z.enum(['adamW', 'muon']).default('adamW'),
      /** 'muon' only. */
      momentum: z.number().min(0).lt(1).optional(),
      beta1: z.number().min(0).lt(1).default(0.9),
      beta2: z.number().min(0).lt(1).default(0.95),
      epsilon: z.number().positive().default(1e-8),
      /** Decoupled, on matrices only. */
      weightDecay: z.number().nonnegative().default(0),
    })
    .refine(({ type, momentum }) => type === 'muon' || momentum === undefined, {
      path: ['momentum'],
      message: "works with type 'muon' only; leave it out or set the type",
    })
    .prefault({}),
  /** Gradients are scaled down to this global L2 norm. */
  maximumGradientNorm: z.number().positive().default(1),
  /** Most tokens of one forward pass; larger steps are split and their gradients added. Bounds memory. */
  microBatchTokens: count.default(8192),
  /** What of each block the backward pass computes again instead of holding it: one mode, or how many blocks have which. */
  recompute: z
    .union([recomputeMode, z.partialRecord(recomputeMode, z.number().int().nonnegative())], {
      error: `give one of ${recomputeModes.join(', ')}, or how many blocks have which, like { feedForward: 8, elementwise: 8 }`,
    })
    .default('none'),
};

export const supervisedFineTuningStageSchema = z
  .strictObject({
    ...commonShape,
    /** Passes over the conversations; exactly one of `epochs` and `steps`. */
    epochs: count.optional(),
    steps: count.optional(),
    /** Conversations are packed into steps of at most this many tokens (one longer conversation makes a step alone). */
    tokensPerStep: count,
    /** Longest conversation in tokens; at most the model's `maximumPositions`. */
    contextLength: count,
    /** What happens to longer conversations: an error that names the first, left out, or cut at the end. Counted. */
    overlongConversations: z.enum(['refuse', 'drop', 'truncate']).default('refuse'),
    /** Steps between evaluations of the held-out conversations (always at the end). */
    evaluateEverySteps: count.optional(),
  })
  .refine(({ epochs, steps }) => (epochs === undefined) !== (steps === undefined), {
    path: ['epochs'],
    message: 'set exactly one of epochs and steps',
  });

export const directPreferenceOptimizationStageSchema = z
  .strictObject({
    ...commonShape,
    epochs: count.optional(),
    steps: count.optional(),
    pairsPerStep: count,
    contextLength: count,
    /** What happens to pairs of which one side is longer than the context. */
    overlongPairs: z.enum(['refuse', 'drop']).default('refuse'),
    /** Strength of the pull towards the reference. */
    beta: z.number().positive().default(0.1),
    /** 'sigmoid': DPO (arXiv 2305.18290, eq. 7); 'ipo': squared loss (arXiv 2310.12036, eq. 17) on length-normalised log-probabilities. */
    loss: z.enum(['sigmoid', 'ipo']).default('sigmoid'),
    /** Probability that a label is wrong (conservative DPO); 'sigmoid' only. */
    labelSmoothing: z.number().min(0).lt(0.5).default(0),
    /** Take the reference to be uniform: no log-probabilities of it are computed. */
    referenceFree: z.boolean().default(false),
    /** Adds this times the negative log-likelihood a token of the chosen answer. */
    chosenLikelihoodWeight: z.number().nonnegative().default(0),
    evaluateEverySteps: count.optional(),
  })
  .refine(({ epochs, steps }) => (epochs === undefined) !== (steps === undefined), {
    path: ['epochs'],
    message: 'set exactly one of epochs and steps',
  })
  .refine(({ loss, labelSmoothing }) => loss === 'sigmoid' || labelSmoothing === 0, {
    path: ['labelSmoothing'],
    message: "only works with loss 'sigmoid'; set it to 0",
  });

export const proximalPolicyOptimizationStageSchema = z
  .strictObject({
    ...commonShape,
    /** Rounds of rollout and update. */
    iterations: count,
    promptsPerIteration: count,
    samplesPerPrompt: count.default(1),
    maximumNewTokens: count,
    /** Of the rollouts; the policy that is trained is the one at this temperature. */
    temperature: z.number().positive().max(10).default(1),
    /** Passes over the rollouts of an iteration. */
    updateEpochs: count.default(2),
    /** Optimizer steps a pass. */
    minibatches: count.default(4),
    clipRange: z.number().positive().lt(1).default(0.2),
    /** Values may move this far from the old ones before their loss stops pulling; null turns the clipping off. */
    valueClipRange: z.number().positive().nullable().default(0.2),
    valueCoefficient: z.number().nonnegative().default(0.1),
    /** Learning rate of the value head (and of its own trunk) relative to the policy's. */
    valueLearningRateRatio: z.number().positive().default(1),
    /**
     * Where the value head reads: the policy's hidden states with its gradient flowing back ('shared'), the same without
     * ('detached'), or a copy of the model trained for values alone ('separate', one more model in memory).
     */
    valueTrunk: z.enum(['shared', 'detached', 'separate']).default('shared'),
    /** Discount a token. */
    gamma: fraction.default(1),
    /**
     * Generalised advantage estimation (arXiv 1506.02438). 1 credits every token of an answer with its reward; less trusts
     * the values, which at first know nothing.
     */
    lambda: fraction.default(1),
    whitenAdvantages: z.boolean().default(true),
    /** Coefficient of the KL penalty to the reference, a token; the starting one where `adaptiveKl` is set. */
    klCoefficient: z.number().nonnegative().default(0.01),
    /** Moves the coefficient towards a KL a completion of `target` nats (arXiv 1909.08593, section 2.2). */
    adaptiveKl: z.strictObject({ target: z.number().positive(), horizon: z.number().positive() }).optional(),
    /** No further pass over the rollouts once the mean approximate KL to the rollout policy exceeds this. */
    targetUpdateKl: z.number().positive().optional(),
    /** Added to the reward of a completion cut off at `maximumNewTokens`. */
    truncationPenalty: z.number().max(0).default(0),
    /** Rewards are clipped to ± this before the KL penalty. */
    rewardClip: z.number().positive().optional(),
    /** The run stops where a rollout's log-probability differs by more from the trainer's; default: it is reported only. */
    maximumLogProbabilityMismatch: z.number().positive().optional(),
    /** Tokens the rollouts' key-value cache holds; default: all rollouts of an iteration at once. */
    cacheTokens: count.optional(),
  })
  .refine(
    ({ minibatches, promptsPerIteration, samplesPerPrompt }) => minibatches <= promptsPerIteration * samplesPerPrompt,
    {
      path: ['minibatches'],
      message: 'is larger than promptsPerIteration · samplesPerPrompt, so some minibatches would be empty',
    },
  );

export type SupervisedFineTuningStage = z.input<typeof supervisedFineTuningStageSchema>;
export type ResolvedSupervisedFineTuningStage = z.output<typeof supervisedFineTuningStageSchema>;
export type DirectPreferenceOptimizationStage = z.input<typeof directPreferenceOptimizationStageSchema>;
export type ResolvedDirectPreferenceOptimizationStage = z.output<typeof directPreferenceOptimizationStageSchema>;
export type ProximalPolicyOptimizationStage = z.input<typeof proximalPolicyOptimizationStageSchema>;
export type ResolvedProximalPolicyOptimizationStage = z.output<typeof proximalPolicyOptimizationStageSchema>;

/** Checks a stage and fills in its defaults. Throws PosttrainError INVALID_STAGE that names every wrong setting. */
export function parseStage<T>(kind: string, schema: z.ZodType<T>, stage: unknown): T {
  const parsed = schema.safeParse(stage);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((issue) =>
    issue.path.length === 0 ? issue.message : `${issue.path.map(String).join('.')}: ${issue.message}`,
  );
  throw new PosttrainError('INVALID_STAGE', `The ${kind} stage is not valid: ${issues.join('; ')}.`, {
    value: stage,
    remedy: 'Correct these settings; nothing was started.',
    cause: parsed.error,
  });
}
