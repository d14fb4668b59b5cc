/**
 * Supervised fine-tuning: next-token loss on what the assistant says, its end of turn included. Conversations are packed
 * whole, attention stays inside each; a step's loss is the mean over all its assistant tokens, however it is split into
 * micro-batches. A step costs a forward and a backward pass of its tokens, and logits of the assistant's tokens only.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { CausalLanguageModel, ForwardOptions } from '@xgen-small/model-core';
import { accumulateGradients, createOptimizer, learningRateAt } from '@xgen-small/pretrain';
import type { Conversation } from '../data/records.js';
import { tokenizeConversations, type TokenizedConversations } from '../data/tokenized-conversations.js';
import {
  countTargets,
  groupByTokens,
  packSequences,
  type PackedSequences,
  type TargetSequence,
} from '../model/packed-sequences.js';
import { logProbabilitiesOfTargets, targetHiddenStates } from '../model/target-log-probabilities.js';
import { throwIfAborted } from '../run/abort.js';
import { checkFit, checkSeed } from '../run/check-arguments.js';
import { runIdentity } from '../run/identity.js';
import { OptimizerGroup } from '../run/optimizer-group.js';
import type { PosttrainRunArguments } from '../run/run-arguments.js';
import {
  parseStage,
  supervisedFineTuningStageSchema,
  type ResolvedSupervisedFineTuningStage,
  type SupervisedFineTuningStage,
} from '../run/stage-schemas.js';
import { planSteps } from '../run/step-plan.js';
import { executeTrainingRun, type StepFunction } from '../run/training-run.js';

export interface SupervisedFineTuningArguments extends PosttrainRunArguments<SupervisedFineTuningStage> {
  /** Tokenised once and held as tokens (5 bytes each). */
  conversations: Iterable<Conversation> | AsyncIterable<Conversation>;
  heldOut?: Iterable<Conversation> | AsyncIterable<Conversation>;
}

export interface SupervisedFineTuningResult {
  /** Hugging Face model folder. */
  modelFolder: string;
  checkpointFolder: string;
  metricsFile: string;
  /** True when nothing was left to do. */
  alreadyFinished: boolean;
  steps: number;
  /** Conversations trained on, and those cut or left out because they were longer than the context. */
  conversations: { used: number; truncated: number; dropped: number };
  /** Of all conversations, once each. */
  assistantTokens: number;
  /** Mean −log p an assistant token of the last step, nats. */
  finalLoss: number;
  /** The same over the held-out conversations before and after; absent without any. */
  heldOutLossBefore?: number;
  heldOutLoss?: number;
}

type State = { updates: number; loss: number; heldOutLossBefore: number | null; heldOutLoss: number | null };

export async function runSupervisedFineTuning(
  options: SupervisedFineTuningArguments,
): Promise<SupervisedFineTuningResult> {
  const { model, tokenizer, seed } = options;
  const stage = parseStage('supervised fine-tuning', supervisedFineTuningStageSchema, options.stage);
  checkFit(model, tokenizer, stage);
  checkSeed(seed);
  const read = (conversations: SupervisedFineTuningArguments['conversations'], label: string) =>
    tokenizeConversations({
      conversations,
      tokenizer,
      contextLength: stage.contextLength,
      overlong: stage.overlongConversations,
      label,
      signal: options.signal,
      onProgress: options.onProgress,
    });
  const data = await read(options.conversations, 'conversations');
  const heldOut = options.heldOut && (await read(options.heldOut, 'held-out conversations'));
  const plan = planSteps({
    sizes: data.sequences.map(({ tokens }) => tokens.length),
    stepSize: stage.tokensPerStep,
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
    const finished = await executeTrainingRun<State>({
      kind: 'sft',
      name: stage.name ?? 'sft',
      arguments: options,
      identity: await runIdentity({ stage, seed, model, data: data.sha256, heldOut: heldOut?.sha256 }),
      variables: optimizer.moments(),
      totalSteps: plan.totalSteps,
      unit: 'steps',
      initialState: { updates: 0, loss: 0, heldOutLossBefore: null, heldOutLoss: null },
      begin: (firstStep, state) => {
        optimizer.updates = state.updates;
        const groups = plan.steps(firstStep);
        return stepFunction({ model, stage, data, heldOut, optimizer, groups, plan, signal: options.signal });
      },
    });
    const { state, ...files } = finished;
    return {
      ...files,
      steps: plan.totalSteps,
      conversations: { used: data.sequences.length, truncated: data.truncated, dropped: data.dropped },
      assistantTokens: data.assistantTokens,
      finalLoss: state.loss,
      heldOutLossBefore: state.heldOutLossBefore ?? undefined,
      heldOutLoss: state.heldOutLoss ?? undefined,
    };
  } finally {
    optimizer.dispose();
  }
}

interface StepParts {
  model: CausalLanguageModel;
  stage: ResolvedSupervisedFineTuningStage;
  data: TokenizedConversations;
  heldOut?: TokenizedConversations;
  optimizer: OptimizerGroup;
  groups: Generator<number[]>;
  plan: { totalSteps: number };
  signal?: AbortSignal;
}

function stepFunction({
  model,
  stage,
  data,
  heldOut,
  optimizer,
  groups,
  plan,
  signal,
}: StepParts): StepFunction<State> {
  const evaluate = async (interrupt?: AbortSignal) =>
    heldOut && (await assistantLoss(model, heldOut.sequences, stage.microBatchTokens, interrupt));
  return async (step, state) => {
    const heldOutLossBefore = step === 0 ? ((await evaluate(signal)) ?? null) : state.heldOutLossBefore;
    const group = groups.next().value as number[];
    const sequences = group.map((index) => data.sequences[index]);
    const learningRate = learningRateAt(stage.learningRate, step, plan.totalSteps);
    const update = await supervisedUpdate(model, sequences, optimizer, learningRate, stage);
    const last = step + 1 === plan.totalSteps;
    const due = last || (stage.evaluateEverySteps !== undefined && (step + 1) % stage.evaluateEverySteps === 0);
    // Not to be interrupted: the update is done, so the step has to be finished.
    const heldOutLoss = due ? await evaluate() : undefined;
    return {
      state: {
        updates: optimizer.updates,
        loss: update.loss,
        heldOutLossBefore,
        heldOutLoss: heldOutLoss ?? state.heldOutLoss,
      },
      metrics: {
        ...update,
        learningRate,
        ...(step === 0 && heldOutLossBefore !== null ? { heldOutLossBefore } : {}),
        ...(heldOutLoss !== undefined ? { heldOutLoss } : {}),
      },
    };
  };
}

/** One update on the mean loss of all target tokens of the sequences. */
export async function supervisedUpdate(
  model: CausalLanguageModel,
  sequences: readonly TargetSequence[],
  optimizer: OptimizerGroup,
  learningRate: number,
  { microBatchTokens, recompute }: Pick<ResolvedSupervisedFineTuningStage, 'microBatchTokens' | 'recompute'>,
): Promise<{ loss: number; gradientNorm: number; tokens: number; assistantTokens: number }> {
  const assistantTokens = sequences.reduce((sum, sequence) => sum + countTargets(sequence), 0);
  const packed = groupByTokens(sequences, ({ tokens }) => tokens.length, microBatchTokens).map(packSequences);
  const { losses, gradients } = await accumulateGradients({
    parameters: model.parameters,
    microBatches: packed.length,
    loss: (i) => supervisedLoss(model, packed[i], assistantTokens, { recompute }),
  });
  const gradientNorm = optimizer.apply(gradients, learningRate);
  const loss = losses.reduce((sum, part) => sum + part.dataSync()[0], 0);
  tf.dispose([...losses, ...gradients.values()]);
  return { loss, gradientNorm, tokens: sequences.reduce((sum, { tokens }) => sum + tokens.length, 0), assistantTokens };
}

/** −Σ log p(target) / normalizer over the packed targets; differentiable. */
export function supervisedLoss(
  model: CausalLanguageModel,
  packed: PackedSequences,
  normalizer: number,
  options: ForwardOptions = {},
): tf.Scalar {
  return tf.tidy(() => {
    const hidden = targetHiddenStates(model, packed, options);
    return tf.mul(tf.sum(logProbabilitiesOfTargets(model, hidden, packed.targets)), -1 / normalizer);
  });
}

/** Mean −log p an assistant token over whole conversations, nats; forward passes only. */
export async function assistantLoss(
  model: CausalLanguageModel,
  sequences: readonly TargetSequence[],
  microBatchTokens: number,
  signal?: AbortSignal,
): Promise<number> {
  let sum = 0;
  let count = 0;
  for (const group of groupByTokens(sequences, ({ tokens }) => tokens.length, microBatchTokens)) {
    throwIfAborted(signal, 'Evaluation');
    const packed = packSequences(group);
    const loss = supervisedLoss(model, packed, 1);
    sum += (await loss.data())[0];
    loss.dispose();
    count += packed.targets.length;
  }
  return sum / count;
}
