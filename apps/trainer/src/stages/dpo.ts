/** DPO on pairs of right and wrong answers: the model's own samples, told apart by the verifier. */
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '@xgen-small/model-core';
import {
  buildPreferencePairs,
  createChatTokenizer,
  numericAnswerVerifier,
  readPreferences,
  runDirectPreferenceOptimization,
  type PreferencePairs,
} from '@xgen-small/posttrain';
import { TrainerError } from '../errors.js';
import type { PipelineStage } from '../run/stage-context.js';
import { mathsProblems, mathsPrompt } from './maths-data.js';
import { filesOfFolder, loadStageModel, loadTokenizer } from './model-files.js';
import { relativeTo } from './paths.js';

export const directPreferenceStage: PipelineStage = {
  id: 'dpo',
  title: 'Direct preference optimization',
  requires: ['tokenize', 'sft'],
  async run(context) {
    const { recipe, run, signal, onProgress } = context;
    const folder = run.folder('dpo');
    await mkdir(folder, { recursive: true });
    const tokenizer = createChatTokenizer(await loadTokenizer(context));
    const model = await loadStageModel(context, 'sft');
    try {
      const pairsFile = join(folder, 'preferences.jsonl');
      const statisticsFile = join(folder, 'preferences.json');
      // The statistics are written last, so they stand for both files.
      if (!existsSync(statisticsFile)) {
        const built = await buildPreferencePairs({
          model,
          tokenizer,
          prompts: mathsProblems(recipe, 'dpo', recipe.dpo.problems).map(mathsPrompt),
          verifier: numericAnswerVerifier(),
          seed: recipe.seed,
          samplesPerPrompt: recipe.dpo.samplesPerPrompt,
          maximumNewTokens: recipe.maths.maximumNewTokens,
          temperature: recipe.dpo.temperature,
          referenceSolution: 'solution',
          maximumPairs: recipe.dpo.maximumPairs,
          signal,
          onProgress,
        });
        await writeFileAtomic(pairsFile, built.pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(''));
        await writeFileAtomic(statisticsFile, `${JSON.stringify(built.statistics, null, 2)}\n`);
      }
      const statistics = JSON.parse(await readFile(statisticsFile, 'utf8')) as PreferencePairs['statistics'];
      if (statistics.promptsAllRight === statistics.prompts) {
        throw new TrainerError(
          'INVALID_RECIPE',
          'Every sampled answer was right, so no preference pair could be built.',
          {
            value: statistics,
            remedy: 'Raise dpo.problems, dpo.temperature or maths.difficulty.',
          },
        );
      }
      const result = await runDirectPreferenceOptimization({
        model,
        tokenizer,
        stage: recipe.dpo.stage,
        folder: join(folder, 'run'),
        seed: recipe.seed,
        checkpoints: recipe.dpo.checkpoints,
        preferences: readPreferences(pairsFile),
        signal,
        onProgress,
      });
      const metrics = join(folder, 'run', 'metrics.jsonl');
      return {
        outputs: [...(await filesOfFolder(result.modelFolder)), metrics, pairsFile, statisticsFile],
        summary: {
          model: relativeTo(run, result.modelFolder),
          metricsFiles: [relativeTo(run, metrics)],
          pairs: result.pairs,
          statistics,
          final: result.final,
        },
        headline: `${result.pairs.used} pairs, ${(result.final.accuracy * 100).toFixed(0)} % ranked right, margin ${result.final.rewardMargin.toFixed(2)}`,
      };
    } finally {
      model.dispose();
    }
  },
};
