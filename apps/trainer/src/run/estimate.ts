/**
 * How long a run will take here: a few real training steps of the recipe's model on random tokens, then the recipe's
 * floating-point operations over that rate. Costs one to three seconds. A guide, not a promise: printed as "about".
 */
import { CausalLanguageModel } from '@xgen-small/model-core';
import { globalNormScale, valueAndGradients } from '@xgen-small/kernels';
import { modelFlopsPerToken, parsePretrainStage } from '@xgen-small/pretrain';
import * as tf from '@tensorflow/tfjs-core';
import { baseContextLength, initialModelConfig, type Recipe } from '../recipe/recipe-schema.js';
import type { StageId } from './stage-context.js';

export interface RunEstimate {
  tokensPerSecond: number;
  trainingSeconds: number;
  totalSeconds: number;
}

/** Seconds that curation, tokenisation and evaluation of a quickstart-sized recipe took beside training, on four cores: 45, and some for slower disks. */
const fixedSeconds = 60;

/** What a run's steps, with their data and optimizer, reach of the best bare step (18,200 of 19,800 tokens/s on four cores). */
const shareOfBestStep = 0.92;

export async function estimateRun(recipe: Recipe, remaining: readonly StageId[]): Promise<RunEstimate | undefined> {
  const config = initialModelConfig(recipe);
  const contextLength = baseContextLength(recipe);
  const perToken = (length: number): number => modelFlopsPerToken(config, length);
  let flops = 0;
  if (remaining.includes('pretrain')) for (const stage of recipe.pretrain.stages) flops += stageFlops(stage);
  if (remaining.includes('extend')) for (const stage of recipe.extend.stages) flops += stageFlops(stage);
  // A worked one-step problem with its chat tokens takes some 48 tokens (12,100 for 256 rollouts of the quickstart).
  const conversationTokens = 48;
  if (remaining.includes('sft'))
    flops += recipe.sft.problems * (recipe.sft.stage.epochs ?? 1) * conversationTokens * perToken(256);
  if (remaining.includes('dpo')) flops += 3 * recipe.dpo.maximumPairs * conversationTokens * perToken(256);
  if (remaining.includes('ppo')) {
    const { iterations, promptsPerIteration, samplesPerPrompt, updateEpochs } = recipe.ppo.stage;
    // Sampling and scoring together took nearly twice as long as one pass of the update (docs/log.md).
    flops +=
      recipe.ppo.seeds.length *
      iterations *
      promptsPerIteration *
      samplesPerPrompt *
      conversationTokens *
      (updateEpochs + 1.9) *
      perToken(256);
  }
  function stageFlops(input: Recipe['pretrain']['stages'][number]): number {
    const stage = parsePretrainStage(input);
    return stage.steps * stage.tokensPerStep * perToken(stage.contextLength);
  }
  if (flops === 0) return undefined;
  const tokensPerSecond = await measureTokensPerSecond(recipe);
  const trainingSeconds = flops / perToken(contextLength) / tokensPerSecond;
  return {
    tokensPerSecond,
    trainingSeconds,
    totalSeconds: trainingSeconds + (remaining.length > 1 ? fixedSeconds : 0),
  };
}

/** A processor is busy with 2,048 tokens; a GPU would mostly wait for its launches (of 30 million parameters: a fifth of the rate). */
function measuredTokens(recipe: Recipe): number {
  if (tf.getBackend() !== 'cuda') return 2048;
  return Math.min(65_536, ...recipe.pretrain.stages.map(({ tokensPerStep }) => tokensPerStep));
}

async function measureTokensPerSecond(recipe: Recipe): Promise<number> {
  const config = initialModelConfig(recipe);
  const length = baseContextLength(recipe);
  const sequences = Math.max(1, Math.floor(measuredTokens(recipe) / length));
  const total = sequences * length;
  const model = CausalLanguageModel.initialize(config, { seed: 0 });
  const tokens = Int32Array.from({ length: total }, (_, i) => (i * 7919) % config.vocabularySize);
  const batch = {
    tokens,
    positions: Int32Array.from({ length: total }, (_, i) => i % length),
    cumulativeLengths: Int32Array.from({ length: sequences + 1 }, (_, i) => i * length),
  };
  const targets = Int32Array.from(tokens, (_, i) => tokens[(i + 1) % total]);
  const variables = [...model.parameters.values()];
  const times: number[] = [];
  try {
    // The first steps are slower: memory is new and the processor's clock low. What else runs for a moment should not count.
    for (let step = 0; step < 12; step++) {
      const start = performance.now();
      const { value, gradients } = valueAndGradients(
        () => tf.neg(tf.mean(model.logProbabilities(batch, targets))) as tf.Scalar,
        variables,
      );
      const { norm, scale } = globalNormScale([...gradients.values()], 1);
      await norm.data();
      tf.dispose([value, norm, scale, ...gradients.values()]);
      times.push((performance.now() - start) / 1000);
    }
  } finally {
    model.dispose();
  }
  return (shareOfBestStep * total) / Math.min(...times);
}
