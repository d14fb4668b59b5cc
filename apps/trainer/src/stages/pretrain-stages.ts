/** What pre-training and length extension share: a list of stages, each going on from the model and moments of the one before. */
import { join } from 'node:path';
import type { CausalLanguageModel } from '@xgen-small/model-core';
import {
  runPretrainStage,
  type CheckpointPolicy,
  type PretrainStageInput,
  type PretrainStageResult,
} from '@xgen-small/pretrain';
import type { StageContext } from '../run/stage-context.js';
import { filesOfFolder } from './model-files.js';
import { relativeTo } from './paths.js';
import { openTrainingData } from './training-data.js';

export interface StageListResult {
  outputs: string[];
  summary: {
    model: string;
    checkpoint: string;
    metricsFiles: string[];
    tokens: number;
    loss: number;
    stages: Record<string, unknown>[];
  };
}

/** Trains `model` (disposed before returning) through all stages, each in its own folder under `folder`. */
export async function runStageList(
  context: StageContext,
  options: {
    stages: readonly PretrainStageInput[];
    folder: string;
    checkpoints?: CheckpointPolicy;
    initial: () => Promise<CausalLanguageModel>;
    optimizerFrom?: string;
  },
): Promise<StageListResult> {
  const { run, recipe, signal, onProgress, display } = context;
  const { data, close } = await openTrainingData(context);
  let model = await options.initial();
  try {
    let optimizerFrom = options.optimizerFrom;
    let result: PretrainStageResult | undefined;
    const metricsFiles: string[] = [];
    const stages: Record<string, unknown>[] = [];
    let tokens = 0;
    for (const stage of options.stages) {
      const before = model;
      result = await runPretrainStage({
        model,
        data,
        stage,
        folder: run.folder(options.folder, stage.name),
        seed: recipe.seed,
        optimizerFrom,
        checkpoints: options.checkpoints,
        signal,
        onProgress,
      });
      model = result.model;
      if (model !== before) before.dispose();
      optimizerFrom = run.folder(options.folder, stage.name);
      tokens += result.tokens;
      metricsFiles.push(relativeTo(run, result.metricsFile));
      stages.push({
        name: stage.name,
        contextLength: stage.contextLength,
        ropeBase: model.config.rope.base,
        tokens: result.tokens,
        loss: result.loss,
        domains: result.domains,
        model: relativeTo(run, result.modelFolder),
      });
      display.finish();
      display.line(
        `      ${stage.name}: loss ${result.loss.toFixed(3)} after ${result.tokens.toLocaleString('en')} tokens at context ${stage.contextLength}`,
      );
    }
    if (!result) throw new Error('A recipe has at least one stage.');
    return {
      outputs: [...(await filesOfFolder(result.modelFolder)), ...metricsFiles.map((file) => join(run.path, file))],
      summary: {
        model: relativeTo(run, result.modelFolder),
        checkpoint: options.folder + '/' + options.stages[options.stages.length - 1].name,
        metricsFiles,
        tokens,
        loss: result.loss,
        stages,
      },
    };
  } finally {
    model.dispose();
    await close();
  }
}
