/** Length extension: further stages at longer contexts, each with its own RoPE base, from the pre-trained model and moments. */
import { extendedContextLength } from '../recipe/recipe-schema.js';
import type { PipelineStage } from '../run/stage-context.js';
import { formatCount } from '../terminal/format.js';
import { loadStageModel } from './model-files.js';
import { runStageList } from './pretrain-stages.js';

export const extendStage: PipelineStage = {
  id: 'extend',
  title: 'Extend the context',
  requires: ['tokenize', 'pretrain'],
  async run(context) {
    const { recipe, run } = context;
    const { checkpoint } = context.finished('pretrain').summary as { checkpoint: string };
    const { outputs, summary } = await runStageList(context, {
      stages: recipe.extend.stages,
      folder: 'extend',
      checkpoints: recipe.extend.checkpoints,
      initial: () => loadStageModel(context, 'pretrain'),
      optimizerFrom: run.folder(checkpoint),
    });
    return {
      outputs,
      summary: { ...summary, contextLength: extendedContextLength(recipe) },
      headline: `context ${formatCount(extendedContextLength(recipe))}, ${formatCount(summary.tokens)} tokens, loss ${summary.loss.toFixed(3)}`,
    };
  },
};
