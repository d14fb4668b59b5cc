/**
 * Online PPO on a language model (arXiv 1707.06347, 2203.02155). An iteration samples answers with the policy, scores them,
 * turns scores into advantages of tokens, and makes a few passes of clipped updates. In memory: the policy with its
 * optimizer, a frozen copy as the reference, a value head (or, by choice, a third trunk), and the key-value cache while
 * sampling. Each part of the loop is an exported function that a caller may replace.
 */
import { RandomGenerator, type CausalLanguageModel } from '@xgen-small/model-core';
import { learningRateAt } from '@xgen-small/pretrain';
import { createHash } from 'node:crypto';
import type { Prompt } from '../data/records.js';
import { PosttrainError } from '../errors.js';
import { meanAndStandardDeviation } from '../losses/generalized-advantage-estimation.js';
import { nextKlCoefficient } from '../losses/kl-controller.js';
import { proximalPolicyLoss } from '../losses/proximal-policy-loss.js';
import { cloneModel } from '../model/clone-model.js';
import type { RewardFunction } from '../rewards/types.js';
import { encodePrompt, rollout } from '../rollout/rollout.js';
import { checkFit, checkSeed } from '../run/check-arguments.js';
import { runIdentity } from '../run/identity.js';
import { OptimizerGroup } from '../run/optimizer-group.js';
import type { PosttrainRunArguments } from '../run/run-arguments.js';
import {
  parseStage,
  proximalPolicyOptimizationStageSchema,
  type ProximalPolicyOptimizationStage,
  type ResolvedProximalPolicyOptimizationStage,
} from '../run/stage-schemas.js';
import { planSteps } from '../run/step-plan.js';
import { executeTrainingRun, type StepFunction } from '../run/training-run.js';
import { computeAdvantages } from './compute-advantages.js';
import { evaluateRollouts } from './evaluate-rollouts.js';
import { updatePolicy, type PolicyLearner, type ProximalPolicyLoss } from './policy-update.js';
import { scoreRollouts } from './score-rollouts.js';
import { ValueFunction } from './value-function.js';

/** The parts of an iteration; pass your own to change the algorithm. */
export interface ProximalPolicySteps {
  rollout: typeof rollout;
  scoreRollouts: typeof scoreRollouts;
  computeAdvantages: typeof computeAdvantages;
  loss: ProximalPolicyLoss;
}

export interface ProximalPolicyOptimizationArguments extends PosttrainRunArguments<ProximalPolicyOptimizationStage> {
  prompts: Iterable<Prompt> | AsyncIterable<Prompt>;
  /** Of a prompt and a completion; must give the same for the same if a resumed run is to end in the same bytes. */
  reward: RewardFunction;
  steps?: Partial<ProximalPolicySteps>;
}

/** A row of metrics; the reward's parts are there as `reward/<part>`. */
export type ProximalPolicyMetrics = {
  /** Mean and deviation over the answers, penalty and clip included, KL not. */
  reward: number;
  rewardStandardDeviation: number;
  /** Mean KL an answer to the reference (k1 estimate), nats. */
  referenceKl: number;
  klCoefficient: number;
  /** Mean of −log p of the sampled tokens: an unbiased estimate of the policy's entropy, nats a token. */
  entropy: number;
  policyLoss: number;
  valueLoss: number;
  /** Share of the returns' variance that the values before the update explain. */
  explainedVariance: number;
  approximateKl: number;
  clipFraction: number;
  ratioMaximum: number;
  gradientNorm: number;
  valueGradientNorm: number;
  updateEpochs: number;
  /** Mean length of an answer. */
  completionTokens: number;
  /** Share of answers cut off at `maximumNewTokens`. */
  truncatedShare: number;
  /** Largest |rollout − trainer| log-probability of a sampled token. */
  logProbabilityMismatch: number;
  learningRate: number;
  tokens: number;
};

export interface ProximalPolicyOptimizationResult {
  /** Hugging Face model folder: the policy alone. */
  modelFolder: string;
  checkpointFolder: string;
  metricsFile: string;
  /** True when nothing was left to do. */
  alreadyFinished: boolean;
  iterations: number;
  prompts: number;
  first: ProximalPolicyMetrics;
  final: ProximalPolicyMetrics;
}

type State = {
  policyUpdates: number;
  valueUpdates: number;
  klCoefficient: number;
  first: Record<string, number> | null;
  last: Record<string, number> | null;
};

export async function runProximalPolicyOptimization(
  options: ProximalPolicyOptimizationArguments,
): Promise<ProximalPolicyOptimizationResult> {
  const { model, tokenizer, seed } = options;
  const stage = parseStage('proximal policy optimization', proximalPolicyOptimizationStageSchema, options.stage);
  checkFit(model, tokenizer);
  checkSeed(seed);
  const { prompts, sha256 } = await readAll(options, stage);
  const plan = planSteps({
    sizes: prompts.map(() => 1),
    stepSize: stage.promptsPerIteration,
    steps: stage.iterations,
    seed,
  });
  const identity = await runIdentity({ stage, seed, model, data: sha256 });
  const reference = cloneModel(model);
  const valueFunction = new ValueFunction(model, stage.valueTrunk);
  const { optimizer, maximumGradientNorm } = stage;
  const learner: PolicyLearner = {
    model,
    valueFunction,
    policyOptimizer: new OptimizerGroup('policy', model.parameters, optimizer, maximumGradientNorm),
    valueOptimizer: new OptimizerGroup('value', valueFunction.parameters, optimizer, maximumGradientNorm),
  };
  const { policyOptimizer, valueOptimizer } = learner;
  try {
    const { state, ...files } = await executeTrainingRun<State>({
      kind: 'ppo',
      name: stage.name ?? 'ppo',
      arguments: options,
      identity,
      variables: new Map([...valueFunction.parameters, ...policyOptimizer.moments(), ...valueOptimizer.moments()]),
      totalSteps: stage.iterations,
      unit: 'iterations',
      initialState: { policyUpdates: 0, valueUpdates: 0, klCoefficient: stage.klCoefficient, first: null, last: null },
      begin: (firstStep, { policyUpdates, valueUpdates }) => {
        policyOptimizer.updates = policyUpdates;
        valueOptimizer.updates = valueUpdates;
        const groups = plan.steps(firstStep);
        const next = (): Prompt[] => (groups.next().value as number[]).map((index) => prompts[index]);
        return iteration(options, stage, learner, reference, next);
      },
    });
    return {
      ...files,
      iterations: stage.iterations,
      prompts: prompts.length,
      first: state.first as ProximalPolicyMetrics,
      final: state.last as ProximalPolicyMetrics,
    };
  } finally {
    policyOptimizer.dispose();
    valueOptimizer.dispose();
    valueFunction.dispose();
    reference.dispose();
  }
}

/** All prompts, each checked to leave room for an answer, and their hash. */
async function readAll(
  { prompts: source, model, tokenizer }: ProximalPolicyOptimizationArguments,
  { maximumNewTokens }: ResolvedProximalPolicyOptimizationStage,
): Promise<{ prompts: Prompt[]; sha256: string }> {
  const prompts: Prompt[] = [];
  const hash = createHash('sha256');
  for await (const prompt of source) {
    encodePrompt(model, tokenizer, prompt, maximumNewTokens);
    hash.update(JSON.stringify(prompt)).update('\n');
    prompts.push(prompt);
  }
  if (prompts.length > 0) return { prompts, sha256: hash.digest('hex') };
  throw new PosttrainError('EMPTY_DATA', 'There are no prompts.', { value: 0, remedy: 'Pass at least one.' });
}

function iteration(
  { tokenizer, seed, reward, signal, onProgress, steps }: ProximalPolicyOptimizationArguments,
  stage: ResolvedProximalPolicyOptimizationStage,
  learner: PolicyLearner,
  reference: CausalLanguageModel,
  nextPrompts: () => Prompt[],
): StepFunction<State> {
  const parts: ProximalPolicySteps = { rollout, scoreRollouts, computeAdvantages, loss: proximalPolicyLoss, ...steps };
  const { model, valueFunction, policyOptimizer, valueOptimizer } = learner;
  return async (step, state) => {
    const random = new RandomGenerator(seed).fork(`iteration ${step}`);
    const stopwatch = startStopwatch();
    const samples = await parts.rollout({
      model,
      tokenizer,
      prompts: nextPrompts(),
      samplesPerPrompt: stage.samplesPerPrompt,
      maximumNewTokens: stage.maximumNewTokens,
      temperature: stage.temperature,
      seed: random.fork('rollout').nextUint32(),
      cacheTokens: stage.cacheTokens,
      signal,
      onProgress,
    });
    const rolloutSeconds = stopwatch();
    const { rewards, partMeans } = await parts.scoreRollouts(samples, reward, stage);
    const scoreSeconds = stopwatch();
    const { temperature, microBatchTokens } = stage;
    const tokens = await evaluateRollouts(samples, {
      policy: model,
      reference,
      valueFunction,
      temperature,
      microBatchTokens,
      signal,
    });
    const evaluateSeconds = stopwatch();
    checkMismatch(tokens.logProbabilityMismatch, stage);
    const advantages = parts.computeAdvantages(rewards, tokens, { ...stage, klCoefficient: state.klCoefficient });
    const learningRate = learningRateAt(stage.learningRate, step, stage.iterations);
    const rollouts = { samples, tokens, advantages };
    const update = await updatePolicy(learner, rollouts, stage, learningRate, random, parts.loss);
    const updateSeconds = stopwatch();
    const rewardStatistics = meanAndStandardDeviation(rewards);
    const count = samples.length;
    const metrics = {
      reward: rewardStatistics.mean,
      rewardStandardDeviation: rewardStatistics.standardDeviation,
      ...Object.fromEntries(Object.entries(partMeans).map(([name, mean]) => [`reward/${name}`, mean])),
      referenceKl: advantages.referenceKl,
      klCoefficient: state.klCoefficient,
      entropy: -meanAndStandardDeviation(tokens.oldLogProbabilities).mean,
      ...update,
      explainedVariance: explainedVariance(tokens.oldValues, advantages.returns),
      completionTokens: tokens.oldValues.length / count,
      truncatedShare: samples.filter(({ completion }) => completion.finishReason === 'length').length / count,
      logProbabilityMismatch: tokens.logProbabilityMismatch,
      learningRate,
      tokens: samples.reduce((sum, { promptTokens }) => sum + promptTokens.length, tokens.oldValues.length),
    };
    const { adaptiveKl } = stage;
    return {
      state: {
        policyUpdates: policyOptimizer.updates,
        valueUpdates: valueOptimizer.updates,
        klCoefficient:
          adaptiveKl === undefined
            ? state.klCoefficient
            : nextKlCoefficient(state.klCoefficient, advantages.referenceKl, count, adaptiveKl),
        first: state.first ?? metrics,
        last: metrics,
      },
      metrics,
      seconds: { rolloutSeconds, scoreSeconds, evaluateSeconds, updateSeconds },
    };
  };
}

/** Each call gives the seconds since the one before. */
function startStopwatch(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const seconds = (now - last) / 1000;
    last = now;
    return seconds;
  };
}

function explainedVariance(values: Float32Array, returns: Float64Array): number {
  const total = meanAndStandardDeviation(returns).standardDeviation;
  const residual = meanAndStandardDeviation(returns.map((target, i) => target - values[i])).standardDeviation;
  return total === 0 ? 0 : 1 - (residual / total) ** 2;
}

function checkMismatch(
  mismatch: number,
  { maximumLogProbabilityMismatch: limit }: ResolvedProximalPolicyOptimizationStage,
): void {
  if (limit === undefined || mismatch <= limit) return;
  throw new PosttrainError(
    'LOG_PROBABILITY_MISMATCH',
    `A sampled token's log-probability differs by ${mismatch} between sampling and training; the limit is ${limit}.`,
    { value: mismatch, remedy: 'Use float32 matrix products, or raise maximumLogProbabilityMismatch.' },
  );
}
