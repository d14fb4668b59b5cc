/**
 * Checks a stage as it comes from a recipe: types and ranges by a strict zod schema, then the rules across fields. Every
 * problem is reported at once, each with its path, in one PretrainError INVALID_STAGE.
 */
import { recomputeModes } from '@xgen-small/model-core';
import { z } from 'zod';
import { annealedAt } from '../data/annealed';
import { PretrainError } from '../errors';
import { defaultAdamWOptions } from '../optimizer/adam-w';
import { defaultMomentum } from '../optimizer/muon';
import { schedulePhases, type LearningRateSchedule } from '../schedule/learning-rate';
import type { PretrainStage } from './stage';

const count = z.number().int().positive().max(Number.MAX_SAFE_INTEGER);
const fraction = z.number().min(0).max(1);
const rate = z.number().positive().max(10);
const span = z.union([z.strictObject({ steps: z.number().int().nonnegative() }), z.strictObject({ fraction })], {
  error: 'give { steps: a whole number } or { fraction: 0 to 1 }',
});

const learningRate = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('warmupStableDecay'),
    peak: rate,
    warmup: span.optional(),
    decay: span.optional(),
    decayShape: z.enum(['linear', 'oneMinusSqrt']).optional(),
    final: z.number().nonnegative().max(10).optional(),
  }),
  z.strictObject({
    type: z.literal('cosine'),
    peak: rate,
    warmup: span.optional(),
    final: z.number().nonnegative().max(10).optional(),
  }),
]);

const annealed = (value: z.ZodNumber, range: string) =>
  z.union([value, z.strictObject({ start: value, end: value })], {
    error: `give a number ${range}, or { start, end } of such numbers`,
  });

const mixtureDomain = z.strictObject({
  share: annealed(z.number().nonnegative().max(1e6), 'from 0 to 1e6'),
  minimumQuality: z.number().optional(),
  topFraction: annealed(z.number().positive().max(1), 'above 0, at most 1').optional(),
  minimumDocumentTokens: count.optional(),
  maximumEpochs: z.number().positive().optional(),
});

const ropeScaling = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('linear'), factor: z.number().min(1) }),
  z.strictObject({ type: z.literal('dynamic'), factor: z.number().min(1) }),
  z.strictObject({
    type: z.literal('yarn'),
    factor: z.number().min(1),
    originalMaximumPositions: count.optional(),
    attentionFactor: z.number().positive().optional(),
    betaFast: z.number().positive().optional(),
    betaSlow: z.number().positive().optional(),
    mscale: z.number().nonnegative().optional(),
    mscaleAllDimensions: z.number().nonnegative().optional(),
    truncate: z.boolean().optional(),
  }),
  z.strictObject({
    type: z.literal('llama3'),
    factor: z.number().min(1),
    lowFrequencyFactor: z.number().positive(),
    highFrequencyFactor: z.number().positive(),
    originalMaximumPositions: count,
  }),
]);

const recomputeMode = z.enum(recomputeModes);

/** Shape and ranges only; `parsePretrainStage` adds the rules across fields and the derived defaults. */
export const pretrainStageSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]*$/, 'use lower-case letters, digits, dots and dashes'),
  contextLength: count.min(2),
  tokensPerStep: count,
  microBatchTokens: count.optional(),
  steps: count.optional(),
  tokens: count.optional(),
  learningRate,
  mixture: z.record(z.string().min(1), mixtureDomain),
  optimizer: z
    .strictObject({
      type: z.enum(['adamW', 'muon']).default('adamW'),
      beta1: z.number().min(0).lt(1).default(defaultAdamWOptions.beta1),
      beta2: z.number().min(0).lt(1).default(defaultAdamWOptions.beta2),
      epsilon: z.number().positive().default(defaultAdamWOptions.epsilon),
      weightDecay: z.number().nonnegative().default(defaultAdamWOptions.weightDecay),
      momentum: z.number().min(0).lt(1).optional(),
    })
    .default({ type: 'adamW', ...defaultAdamWOptions }),
  maximumGradientNorm: z.number().positive().default(1),
  documentWeights: z.boolean().default(true),
  minimumDocumentTokens: count.default(2),
  packingLookahead: count.max(65_536).default(64),
  prependBeginToken: z.boolean().optional(),
  lossOn: z.enum(['allTokens', 'markedTokens']).default('allTokens'),
  recompute: z
    .union([recomputeMode, z.partialRecord(recomputeMode, z.number().int().nonnegative())], {
      error: `give one of ${recomputeModes.join(', ')}, or how many blocks have which, like { feedForward: 8, elementwise: 8 }`,
    })
    .optional(),
  rope: z.strictObject({ base: z.number().positive(), scaling: ropeScaling.optional() }).optional(),
  maximumPositions: count.optional(),
});

/**
 * The stage with every default filled in. A stage that went through here passes unchanged.
 * Throws PretrainError INVALID_STAGE naming each setting and its remedy; unknown keys are refused.
 */
export function parsePretrainStage(input: unknown): PretrainStage {
  const parsed = pretrainStageSchema.safeParse(input);
  if (!parsed.success) {
    throw invalid(
      input,
      parsed.error.issues.map((issue) => `${pathOf(issue.path)}: ${issue.message}`),
    );
  }
  const stage = parsed.data;
  const problems = [
    ...optimizerProblems(stage),
    ...lengthProblems(stage),
    ...mixtureProblems(stage.mixture),
    ...positionProblems(stage),
  ];
  if (problems.length > 0) throw invalid(input, problems);
  const { tokens, steps = Math.ceil(tokens! / stage.tokensPerStep), microBatchTokens, ...rest } = stage;
  const complete: PretrainStage = { ...rest, steps, microBatchTokens: microBatchTokens ?? stage.tokensPerStep };
  if (complete.optimizer.type === 'muon') {
    complete.optimizer = { ...complete.optimizer, momentum: complete.optimizer.momentum ?? defaultMomentum };
  }
  const scheduleProblem = learningRateProblem(complete.learningRate, steps);
  if (scheduleProblem !== undefined) throw invalid(input, [scheduleProblem]);
  return complete;
}

type ParsedStage = z.output<typeof pretrainStageSchema>;

function optimizerProblems({ optimizer: { type, momentum } }: ParsedStage): string[] {
  if (type === 'muon' || momentum === undefined) return [];
  return [`optimizer.momentum: works with type 'muon' only; leave it out or set the type`];
}

function lengthProblems(stage: ParsedStage): string[] {
  const { steps, tokens, tokensPerStep, microBatchTokens = tokensPerStep, contextLength } = stage;
  const problems: string[] = [];
  if ((steps === undefined) === (tokens === undefined)) {
    problems.push(
      `steps: set exactly one of \`steps\` and \`tokens\`; ${steps === undefined ? 'neither' : 'both'} is set`,
    );
  }
  if (tokensPerStep % microBatchTokens !== 0) {
    problems.push(
      `microBatchTokens: ${microBatchTokens} does not divide tokensPerStep ${tokensPerStep}; choose a divisor`,
    );
  }
  if (contextLength > microBatchTokens) {
    problems.push(
      `contextLength: ${contextLength} does not fit into a micro-batch of ${microBatchTokens} tokens; raise microBatchTokens or shorten the context`,
    );
  }
  return problems;
}

function mixtureProblems(mixture: ParsedStage['mixture']): string[] {
  const names = Object.keys(mixture);
  if (names.length === 0) return ['mixture: names no domain; give at least one its share'];
  const shares = names.map((name) => ({
    name,
    start: annealedAt(mixture[name].share, 0),
    end: annealedAt(mixture[name].share, 1),
  }));
  const problems = shares
    .filter(({ start, end }) => start === 0 && end === 0)
    .map(({ name }) => `mixture.${name}.share: is zero from start to end; raise it or leave the domain out`);
  for (const moment of ['start', 'end'] as const) {
    if (problems.length === 0 && shares.every((share) => share[moment] === 0)) {
      problems.push(`mixture: every share is zero at the ${moment}; give at least one domain a share there`);
    }
  }
  return problems;
}

function positionProblems({ maximumPositions, contextLength, rope }: ParsedStage): string[] {
  const problems: string[] = [];
  if (maximumPositions !== undefined && maximumPositions < contextLength) {
    problems.push(
      `maximumPositions: ${maximumPositions} is below contextLength ${contextLength}; raise it or shorten the context`,
    );
  }
  const scaling = rope?.scaling;
  if (scaling?.type === 'llama3' && scaling.highFrequencyFactor <= scaling.lowFrequencyFactor) {
    problems.push('rope.scaling.highFrequencyFactor: must exceed lowFrequencyFactor; Llama 3.1 uses 4 and 1');
  }
  return problems;
}

function learningRateProblem(schedule: LearningRateSchedule, steps: number): string | undefined {
  const { final = 0, peak } = schedule;
  if (final > peak) return `learningRate.final: ${final} exceeds the peak ${peak}; lower it`;
  try {
    schedulePhases(schedule, steps);
    return undefined;
  } catch (error) {
    if (PretrainError.isInstance(error)) return error.message;
    throw error;
  }
}

function invalid(input: unknown, problems: string[]): PretrainError {
  const name = (input as { name?: unknown } | null)?.name;
  const title = typeof name === 'string' ? `Stage "${name}"` : 'The stage';
  return new PretrainError('INVALID_STAGE', `${title} is not valid:\n${problems.map((p) => `  - ${p}`).join('\n')}`, {
    value: input,
  });
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.length === 0 ? 'stage' : path.map(String).join('.');
}
