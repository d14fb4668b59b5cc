/** Pre-training: the recipe's stages (broad, then annealing) from a seeded initialisation. */
import { CausalLanguageModel, parameterCount } from '@xgen-small/model-core';
import { initialModelConfig } from '../recipe/recipe-schema.js';
import type { PipelineStage } from '../run/stage-context.js';
import { formatCount } from '../terminal/format.js';
import { runStageList } from './pretrain-stages.js';

export const pretrainStage: PipelineStage = {
  id: 'pretrain',
  title: 'Pre-train',
  requires: ['tokenize'],
  async run(context) {
    const { recipe } = context;
    const config = initialModelConfig(recipe);
    const { outputs, summary } = await runStageList(context, {
      stages: recipe.pretrain.stages,
      folder: 'pretrain',
      checkpoints: recipe.pretrain.checkpoints,
      initial: async () =>
        CausalLanguageModel.initialize(config, {
          seed: recipe.seed,
          standardDeviation: recipe.model.initialStandardDeviation,
          embeddingStandardDeviation: recipe.model.initialEmbeddingStandardDeviation,
        }),
    });
    const parameters = parameterCount(config);
    return {
      outputs,
      summary: { ...summary, parameters: parameters.total },
      headline: `${formatCount(parameters.total)} parameters, ${formatCount(summary.tokens)} tokens, loss ${summary.loss.toFixed(3)}`,
    };
  },
};
