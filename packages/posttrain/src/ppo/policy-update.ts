/**
 * The update of an iteration: several passes over the rollouts in minibatches, each one optimizer step of the policy and
 * one of the critic. A pass costs a forward and a backward pass over all prompts and answers.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { CausalLanguageModel, RandomGenerator } from '@xgen-small/model-core';
import { accumulateGradients } from '@xgen-small/pretrain';
import type {
  ProximalPolicyInput,
  ProximalPolicyOptions,
  ProximalPolicyOutput,
} from '../losses/proximal-policy-loss.js';
import { hostLoss } from '../model/host-loss.js';
import { groupByTokens, packSequences } from '../model/packed-sequences.js';
import { logProbabilitiesOfTargets, targetHiddenStates } from '../model/target-log-probabilities.js';
import type { RolloutSample } from '../rollout/rollout.js';
import { yieldToEventLoop } from '../run/abort.js';
import type { OptimizerGroup } from '../run/optimizer-group.js';
import type { ResolvedProximalPolicyOptimizationStage } from '../run/stage-schemas.js';
import type { Advantages } from './compute-advantages.js';
import { rolloutSequence, type RolloutTokens } from './evaluate-rollouts.js';
import type { ValueFunction } from './value-function.js';

export type ProximalPolicyLoss = (input: ProximalPolicyInput, options: ProximalPolicyOptions) => ProximalPolicyOutput;

export interface PolicyLearner {
  model: CausalLanguageModel;
  valueFunction: ValueFunction;
  policyOptimizer: OptimizerGroup;
  valueOptimizer: OptimizerGroup;
}

export interface Rollouts {
  samples: readonly RolloutSample[];
  tokens: RolloutTokens;
  advantages: Advantages;
}

export interface UpdateMetrics {
  policyLoss: number;
  valueLoss: number;
  /** Of the last pass: how far it has moved from the policy that sampled. */
  approximateKl: number;
  clipFraction: number;
  ratioMaximum: number;
  /** Mean over updates, before clipping. */
  gradientNorm: number;
  valueGradientNorm: number;
  /** Passes made; fewer than asked for where the KL stopped them. */
  updateEpochs: number;
}

type UpdateOptions = ResolvedProximalPolicyOptimizationStage;

export async function updatePolicy(
  learner: PolicyLearner,
  rollouts: Rollouts,
  stage: UpdateOptions,
  learningRate: number,
  random: RandomGenerator,
  loss: ProximalPolicyLoss,
): Promise<UpdateMetrics> {
  const metrics = { policyLoss: 0, valueLoss: 0, approximateKl: 0, clipFraction: 0, ratioMaximum: 0 };
  const norms = { policy: 0, value: 0 };
  let updates = 0;
  let epoch = 0;
  while (epoch < stage.updateEpochs) {
    const order = random.fork(`update epoch ${epoch}`).shuffle(Array.from(rollouts.samples, (_, i) => i));
    const sum = { policyLoss: 0, valueLoss: 0, approximateKl: 0, clipFraction: 0, ratioMaximum: 0 };
    for (let minibatch = 0; minibatch < stage.minibatches; minibatch++) {
      const start = Math.floor((minibatch * order.length) / stage.minibatches);
      const end = Math.floor(((minibatch + 1) * order.length) / stage.minibatches);
      const step = await minibatchUpdate(learner, rollouts, order.slice(start, end), stage, learningRate, loss);
      for (const name of ['policyLoss', 'valueLoss', 'approximateKl', 'clipFraction'] as const) {
        sum[name] += step[name] / stage.minibatches;
      }
      sum.ratioMaximum = Math.max(sum.ratioMaximum, step.ratioMaximum);
      norms.policy += step.gradientNorm;
      norms.value += step.valueGradientNorm;
      updates++;
      await yieldToEventLoop();
    }
    Object.assign(metrics, sum);
    epoch++;
    if (stage.targetUpdateKl !== undefined && sum.approximateKl > stage.targetUpdateKl) break;
  }
  return {
    ...metrics,
    gradientNorm: norms.policy / updates,
    valueGradientNorm: norms.value / updates,
    updateEpochs: epoch,
  };
}

async function minibatchUpdate(
  { model, valueFunction, policyOptimizer, valueOptimizer }: PolicyLearner,
  rollouts: Rollouts,
  indices: readonly number[],
  stage: UpdateOptions,
  learningRate: number,
  loss: ProximalPolicyLoss,
): Promise<Omit<UpdateMetrics, 'updateEpochs'>> {
  const { offsets } = rollouts.tokens;
  const sum = { policyLoss: 0, valueLoss: 0, approximateKl: 0, clipFraction: 0, ratioMaximum: 0 };
  const normalizer = indices.reduce((tokens, i) => tokens + offsets[i + 1] - offsets[i], 0);
  const length = (i: number): number => rollouts.samples[i].promptTokens.length + offsets[i + 1] - offsets[i];
  const groups = groupByTokens(indices, length, stage.microBatchTokens);
  const { losses, gradients } = await accumulateGradients({
    parameters: new Map([...model.parameters, ...valueFunction.parameters]),
    microBatches: groups.length,
    loss: (i) =>
      proximalPolicyObjective({ model, valueFunction }, rollouts, groups[i], normalizer, stage, loss, (output) => {
        for (const name of ['policyLoss', 'valueLoss', 'approximateKl', 'clipFraction'] as const) {
          sum[name] += output[name];
        }
        sum.ratioMaximum = Math.max(sum.ratioMaximum, output.ratioMaximum);
      }),
  });
  const gradientNorm = policyOptimizer.apply(gradients, learningRate);
  const valueGradientNorm = valueOptimizer.apply(gradients, learningRate * stage.valueLearningRateRatio);
  tf.dispose([...losses, ...gradients.values()]);
  return { ...sum, gradientNorm, valueGradientNorm };
}

/** The samples' share of the loss whose token sums are divided by `normalizer`; differentiable. */
export function proximalPolicyObjective(
  { model, valueFunction }: Pick<PolicyLearner, 'model' | 'valueFunction'>,
  { samples, tokens, advantages }: Rollouts,
  indices: readonly number[],
  normalizer: number,
  stage: UpdateOptions,
  loss: ProximalPolicyLoss,
  onOutput?: (output: ProximalPolicyOutput) => void,
): tf.Scalar {
  const packed = packSequences(indices.map((i) => rolloutSequence(samples[i])));
  const take = (source: Float32Array | Float64Array): Float64Array => {
    const taken = new Float64Array(packed.targets.length);
    indices.forEach((sample, i) =>
      taken.set(source.subarray(tokens.offsets[sample], tokens.offsets[sample + 1]), packed.offsets[i]),
    );
    return taken;
  };
  return tf.tidy(() => {
    const hidden = targetHiddenStates(model, packed, stage);
    const logProbabilities = logProbabilitiesOfTargets(model, hidden, packed.targets, stage.temperature);
    const values = valueFunction.values(packed, hidden, stage);
    return hostLoss([logProbabilities, values], ([currentLogProbabilities, currentValues]) => {
      const output = loss(
        {
          logProbabilities: currentLogProbabilities,
          oldLogProbabilities: take(tokens.oldLogProbabilities),
          advantages: take(advantages.advantages),
          values: currentValues,
          oldValues: take(tokens.oldValues),
          returns: take(advantages.returns),
        },
        { ...stage, normalizer },
      );
      onOutput?.(output);
      return { loss: output.loss, gradients: [output.logProbabilityGradients, output.valueGradients] };
    });
  });
}
