/** An iteration of PPO: sample, score, evaluate, compute advantages, update. */
import { RandomGenerator, type CausalLanguageModel } from '@xgen-small/model-core';
import { learningRateAt, type ProgressEvent } from '@xgen-small/pretrain';
import type { ChatTokenizer } from '../data/chat-tokenizer.js';
import type { Prompt } from '../data/records.js';
import { PosttrainError } from '../errors.js';
import { meanAndStandardDeviation } from '../losses/generalized-advantage-estimation.js';
import { nextKlCoefficient } from '../losses/kl-controller.js';
import { proximalPolicyLoss } from '../losses/proximal-policy-loss.js';
import type { RewardFunction } from '../rewards/types.js';
import { rollout } from '../rollout/rollout.js';
import type { ResolvedProximalPolicyOptimizationStage } from '../run/stage-schemas.js';
import type { StepFunction } from '../run/training-run.js';
import { computeAdvantages } from './compute-advantages.js';
import { evaluateRollouts } from './evaluate-rollouts.js';
import { updatePolicy, type PolicyLearner, type ProximalPolicyLoss } from './policy-update.js';
import { scoreRollouts } from './score-rollouts.js';

/** The parts of an iteration; pass your own to change the algorithm. */
export interface ProximalPolicySteps {
  rollout: typeof rollout;
  scoreRollouts: typeof scoreRollouts;
  computeAdvantages: typeof computeAdvantages;
  loss: ProximalPolicyLoss;
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

/** What an iteration leaves to the next, beside variables. */
export type IterationState = {
  policyUpdates: number;
  valueUpdates: number;
  klCoefficient: number;
  first: Record<string, number> | null;
  last: Record<string, number> | null;
};

export interface IterationParts {
  tokenizer: ChatTokenizer;
  seed: number;
  reward: RewardFunction;
  steps?: Partial<ProximalPolicySteps>;
  stage: ResolvedProximalPolicyOptimizationStage;
  learner: PolicyLearner;
  reference: CausalLanguageModel;
  /** The prompts of each iteration, in turn. */
  nextPrompts: () => Prompt[];
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

/** A function that does the iterations in order. Only the update at its end changes variables. */
export function iterationFunction({
  tokenizer,
  seed,
  reward,
  steps,
  stage,
  learner,
  reference,
  nextPrompts,
  signal,
  onProgress,
}: IterationParts): StepFunction<IterationState> {
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
