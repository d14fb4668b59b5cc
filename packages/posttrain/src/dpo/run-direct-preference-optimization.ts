/**
 * Direct preference optimization (arXiv 2305.18290): the policy is pulled apart on pairs of answers, held by the
 * log-probabilities of the model it started from. Those are computed once up front and kept in the run folder, so one
 * model is in memory. A step costs a forward and a backward pass over both sides of its pairs.
 */
import { createHash } from 'node:crypto';
import type { CausalLanguageModel } from '@xgen-small/model-core';
import { createOptimizer, learningRateAt, type Json } from '@xgen-small/pretrain';
import type { Preference } from '../data/records.js';
import { checkFit, checkSeed } from '../run/check-arguments.js';
import { runIdentity } from '../run/identity.js';
import { OptimizerGroup } from '../run/optimizer-group.js';
import type { PosttrainRunArguments } from '../run/run-arguments.js';
import {
  directPreferenceOptimizationStageSchema,
  parseStage,
  type DirectPreferenceOptimizationStage,
  type ResolvedDirectPreferenceOptimizationStage,
} from '../run/stage-schemas.js';
import { planSteps } from '../run/step-plan.js';
import { executeTrainingRun, type StepFunction } from '../run/training-run.js';
import { zeroPreferenceMetrics, type PreferenceMetrics } from './preference-metrics.js';
import { tokenizePreferences, type PreferencePair } from './preference-sequences.js';
import { preferenceEvaluation, preferenceUpdate, type ReferencedPair } from './preference-update.js';
import { cachedReferenceLogProbabilities, pairLogProbabilities } from './reference-log-probabilities.js';

export interface DirectPreferenceOptimizationArguments extends PosttrainRunArguments<DirectPreferenceOptimizationStage> {
  preferences: Iterable<Preference> | AsyncIterable<Preference>;
  heldOut?: Iterable<Preference> | AsyncIterable<Preference>;
}

export interface DirectPreferenceOptimizationResult {
  /** Hugging Face model folder. */
  modelFolder: string;
  checkpointFolder: string;
  metricsFile: string;
  /** True when nothing was left to do. */
  alreadyFinished: boolean;
  steps: number;
  pairs: { used: number; dropped: number };
  /** Of the last step's pairs, before its update. */
  final: PreferenceMetrics;
  /** After training; absent without held-out pairs. */
  heldOut?: PreferenceMetrics;
}

type State = { updates: number; last: PreferenceMetrics; heldOut: PreferenceMetrics | null };

export async function runDirectPreferenceOptimization(
  options: DirectPreferenceOptimizationArguments,
): Promise<DirectPreferenceOptimizationResult> {
  const { model, tokenizer, folder, seed, signal } = options;
  const stage = parseStage('direct preference optimization', directPreferenceOptimizationStageSchema, options.stage);
  checkFit(model, tokenizer, stage);
  checkSeed(seed);
  const limits = { contextLength: stage.contextLength, overlong: stage.overlongPairs, signal };
  const data = await tokenizePreferences(options.preferences, tokenizer, limits);
  const heldOut = options.heldOut && (await tokenizePreferences(options.heldOut, tokenizer, limits));
  const identity = await runIdentity({ stage, seed, model, data: data.sha256, heldOut: heldOut?.sha256 });
  const all = [...data.pairs, ...(heldOut?.pairs ?? [])];
  const pairs = stage.referenceFree
    ? all.map((pair) => ({ ...pair, referenceChosen: 0, referenceRejected: 0 }))
    : await withReference(folder, model, all, stage, options, identity);
  const training = pairs.slice(0, data.pairs.length);
  const validation = pairs.slice(data.pairs.length);
  const plan = planSteps({
    sizes: training.map(() => 1),
    stepSize: stage.pairsPerStep,
    epochs: stage.epochs,
    steps: stage.steps,
    seed,
  });
  const optimizer = new OptimizerGroup(
    'optimizer',
    model.parameters,
    createOptimizer(stage.optimizer, model.config),
    stage.maximumGradientNorm,
  );
  try {
    const { state, ...files } = await executeTrainingRun<State>({
      kind: 'dpo',
      name: stage.name ?? 'dpo',
      arguments: options,
      identity,
      variables: optimizer.moments(),
      totalSteps: plan.totalSteps,
      unit: 'steps',
      initialState: { updates: 0, last: zeroPreferenceMetrics(), heldOut: null },
      begin: (firstStep, { updates }) => {
        optimizer.updates = updates;
        const groups = plan.steps(firstStep);
        return stepFunction(model, stage, training, validation, optimizer, groups, plan.totalSteps);
      },
    });
    return {
      ...files,
      steps: plan.totalSteps,
      pairs: { used: data.pairs.length, dropped: data.dropped },
      final: state.last,
      heldOut: state.heldOut ?? undefined,
    };
  } finally {
    optimizer.dispose();
  }
}

async function withReference(
  folder: string,
  model: CausalLanguageModel,
  pairs: readonly PreferencePair[],
  stage: ResolvedDirectPreferenceOptimizationStage,
  { signal, onProgress }: DirectPreferenceOptimizationArguments,
  { initialModel, data, heldOut }: Record<string, Json>,
): Promise<ReferencedPair[]> {
  const source = createHash('sha256')
    .update(JSON.stringify([initialModel, data, heldOut]))
    .digest('hex');
  const { microBatchTokens } = stage;
  const reference = await cachedReferenceLogProbabilities(folder, source, () =>
    pairLogProbabilities(model, pairs, { microBatchTokens, signal, onProgress }),
  );
  return pairs.map((pair, i) => ({
    ...pair,
    referenceChosen: reference.chosen[i],
    referenceRejected: reference.rejected[i],
  }));
}

function stepFunction(
  model: CausalLanguageModel,
  stage: ResolvedDirectPreferenceOptimizationStage,
  training: readonly ReferencedPair[],
  validation: readonly ReferencedPair[],
  optimizer: OptimizerGroup,
  groups: Generator<number[]>,
  totalSteps: number,
): StepFunction<State> {
  return async (step, state) => {
    const group = groups.next().value as number[];
    const learningRate = learningRateAt(stage.learningRate, step, totalSteps);
    const pairs = group.map((index) => training[index]);
    const { gradientNorm, tokens, ...last } = await preferenceUpdate(model, pairs, optimizer, learningRate, stage);
    const due =
      step + 1 === totalSteps ||
      (stage.evaluateEverySteps !== undefined && (step + 1) % stage.evaluateEverySteps === 0);
    const heldOut = due && validation.length > 0 ? preferenceEvaluation(model, validation, stage) : undefined;
    return {
      state: { updates: optimizer.updates, last, heldOut: heldOut ?? state.heldOut },
      metrics: { ...last, gradientNorm, tokens, learningRate, ...prefixed('heldOut', heldOut) },
    };
  };
}

/** {loss} → {heldOutLoss} */
function prefixed(prefix: string, metrics: Record<string, number> | undefined): Record<string, number> {
  return Object.fromEntries(
    Object.entries(metrics ?? {}).map(([name, value]) => [`${prefix}${name[0].toUpperCase()}${name.slice(1)}`, value]),
  );
}
