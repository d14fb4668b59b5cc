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
import { describePreferences } from '../report/describe-preferences.js';
import { mathsProblems, mathsPrompt } from './maths-data.js';
import { filesOfFolder, jsonLines, loadStageModel, loadTokenizer } from './model-files.js';
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
      const heldOutFile = join(folder, 'preferences.heldout.jsonl');
      const { heldOutPairs } = recipe.dpo;
      const statisticsFile = join(folder, 'preferences.json');
      // The statistics are written last, so they stand for all files.
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
          referenceSolution: recipe.dpo.referenceSolutions ? 'solution' : undefined,
          maximumPairs: recipe.dpo.maximumPairs,
          signal,
          onProgress,
        });
        const { pairs } = built;
        const { promptsAllRight, prompts } = built.statistics;
        if (pairs.length <= heldOutPairs && promptsAllRight < prompts) {
          throw new TrainerError(
            'INVALID_RECIPE',
            `The model's answers gave ${pairs.length} preference pairs, and ${heldOutPairs} are to be held out.`,
            {
              value: heldOutPairs,
              remedy: 'Raise dpo.problems, lower dpo.heldOutPairs or set dpo.referenceSolutions.',
            },
          );
        }
        const training = pairs.length - heldOutPairs;
        await writeFileAtomic(pairsFile, jsonLines(pairs.slice(0, training)));
        await writeFileAtomic(heldOutFile, jsonLines(pairs.slice(training)));
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
        heldOut: heldOutPairs > 0 ? readPreferences(heldOutFile) : undefined,
        signal,
        onProgress,
      });
      const metrics = join(folder, 'run', 'metrics.jsonl');
      return {
        outputs: [...(await filesOfFolder(result.modelFolder)), metrics, pairsFile, heldOutFile, statisticsFile],
        summary: {
          model: relativeTo(run, result.modelFolder),
          metricsFiles: [relativeTo(run, metrics)],
          pairs: result.pairs,
          statistics,
          final: result.final,
          heldOut: result.heldOut,
        },
        headline: describePreferences(result),
      };
    } finally {
      model.dispose();
    }
  },
};
