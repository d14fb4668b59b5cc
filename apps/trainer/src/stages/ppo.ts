/**
 * PPO with rewards from the verifier, once for each of the recipe's seeds: the first gives the final model, all of them say
 * how far the result is luck. The final model is exported with its tokenizer as a Hugging Face folder, `model/`.
 */
import { join } from 'node:path';
import { CausalLanguageModel } from '@xgen-small/model-core';
import {
  createChatTokenizer,
  numericAnswerVerifier,
  runProximalPolicyOptimization,
  verifierReward,
  type ProximalPolicyOptimizationResult,
} from '@xgen-small/posttrain';
import type { PipelineStage } from '../run/stage-context.js';
import { mathsProblems, mathsPrompt } from './maths-data.js';
import { filesOfFolder, loadStageModel, loadTokenizer, tokenizerFiles } from './model-files.js';
import { relativeTo } from './paths.js';

export const proximalPolicyStage: PipelineStage = {
  id: 'ppo',
  title: 'Proximal policy optimization',
  requires: ['tokenize', 'dpo'],
  async run(context) {
    const { recipe, run, signal, onProgress, display } = context;
    const parts = await loadTokenizer(context);
    const tokenizer = createChatTokenizer(parts);
    const prompts = mathsProblems(recipe, 'ppo', recipe.ppo.problems).map(mathsPrompt);
    const outputs: string[] = [];
    const runs: { seed: number; model: string; metrics: string; first: unknown; final: unknown }[] = [];
    let last: ProximalPolicyOptimizationResult | undefined;
    for (const seed of recipe.ppo.seeds) {
      const model = await loadStageModel(context, 'dpo');
      try {
        const folder = run.folder('ppo', `seed-${seed}`);
        last = await runProximalPolicyOptimization({
          model,
          tokenizer,
          stage: { ...recipe.ppo.stage, name: `ppo-seed-${seed}` },
          folder,
          seed,
          checkpoints: recipe.ppo.checkpoints,
          prompts,
          reward: verifierReward(numericAnswerVerifier()),
          signal,
          onProgress,
        });
        const metrics = join(folder, 'metrics.jsonl');
        outputs.push(...(await filesOfFolder(last.modelFolder)), metrics);
        runs.push({
          seed,
          model: relativeTo(run, last.modelFolder),
          metrics: relativeTo(run, metrics),
          first: last.first,
          final: last.final,
        });
        display.finish();
        display.line(
          `      seed ${seed}: reward ${last.first.reward.toFixed(3)} → ${last.final.reward.toFixed(3)}, KL ${last.final.referenceKl.toFixed(3)}`,
        );
      } finally {
        model.dispose();
      }
    }
    const modelFolder = run.folder('model');
    const final = await CausalLanguageModel.load(run.folder(runs[0].model), { signal });
    try {
      await final.save(modelFolder, { extraFiles: await tokenizerFiles(parts.folder), signal });
    } finally {
      final.dispose();
    }
    outputs.push(...(await filesOfFolder(modelFolder)));
    return {
      outputs,
      summary: { model: relativeTo(run, modelFolder), runs, metricsFiles: runs.map(({ metrics }) => metrics) },
      headline: `${runs.length} seed${runs.length > 1 ? 's' : ''}, final model in ${relativeTo(run, modelFolder)}/`,
    };
  },
};
