/**
 * Online PPO on a language model (arXiv 1707.06347, 2203.02155). An iteration samples answers with the policy, scores them,
 * turns scores into advantages of tokens, and makes a few passes of clipped updates. In memory: the policy with its
 * optimizer, a frozen copy as the reference, a value head (or, by choice, a third trunk), and the key-value cache while
 * sampling. Each part of the loop is an exported function that a caller may replace.
 */
import { createHash } from 'node:crypto';
import { createAdamW, createOptimizer } from '@xgen-small/pretrain';
import { checkedRecords, promptSchema, type Prompt } from '../data/records.js';
import { PosttrainError } from '../errors.js';
import { cloneModel } from '../model/clone-model.js';
import type { RewardFunction } from '../rewards/types.js';
import { encodePrompt } from '../rollout/rollout.js';
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
import { executeTrainingRun } from '../run/training-run.js';
import {
  iterationFunction,
  type IterationState,
  type ProximalPolicyMetrics,
  type ProximalPolicySteps,
} from './iteration.js';
import type { PolicyLearner } from './policy-update.js';
import { ValueFunction } from './value-function.js';

export interface ProximalPolicyOptimizationArguments extends PosttrainRunArguments<ProximalPolicyOptimizationStage> {
  prompts: Iterable<Prompt> | AsyncIterable<Prompt>;
  /** Of a prompt and a completion; must give the same for the same if a resumed run is to end in the same bytes. */
  reward: RewardFunction;
  steps?: Partial<ProximalPolicySteps>;
}

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

export async function runProximalPolicyOptimization(
  options: ProximalPolicyOptimizationArguments,
): Promise<ProximalPolicyOptimizationResult> {
  const { model, tokenizer, seed } = options;
  const stage = parseStage('proximal policy optimization', proximalPolicyOptimizationStageSchema, options.stage);
  checkFit(model, tokenizer, stage);
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
  const policyRule = createOptimizer(optimizer, model.config);
  // A head is one row, and a trunk's names are its own: AdamW whatever the policy has.
  const valueRule = createAdamW(optimizer);
  const learner: PolicyLearner = {
    model,
    valueFunction,
    policyOptimizer: new OptimizerGroup('policy', model.parameters, policyRule, maximumGradientNorm),
    valueOptimizer: new OptimizerGroup('value', valueFunction.parameters, valueRule, maximumGradientNorm),
  };
  const { policyOptimizer, valueOptimizer } = learner;
  try {
    const { state, ...files } = await executeTrainingRun<IterationState>({
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
        return iterationFunction({ ...options, stage, learner, reference, nextPrompts: next });
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
  for await (const prompt of checkedRecords(source, promptSchema, 'prompts')) {
    encodePrompt(model, tokenizer, prompt, maximumNewTokens);
    hash.update(JSON.stringify(prompt)).update('\n');
    prompts.push(prompt);
  }
  if (prompts.length > 0) return { prompts, sha256: hash.digest('hex') };
  throw new PosttrainError('EMPTY_DATA', 'There are no prompts.', { value: 0, remedy: 'Pass at least one.' });
}
