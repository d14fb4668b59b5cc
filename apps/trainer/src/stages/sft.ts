/** Supervised fine-tuning on worked maths problems as conversations; the loss is on the assistant's tokens alone. */
import { join } from 'node:path';
import { writeFileAtomic } from '@xgen-small/model-core';
import { createChatTokenizer, readConversations, runSupervisedFineTuning } from '@xgen-small/posttrain';
import { mkdir } from 'node:fs/promises';
import type { PipelineStage } from '../run/stage-context.js';
import { formatCount } from '../terminal/format.js';
import { mathsConversation, mathsProblems } from './maths-data.js';
import { filesOfFolder, jsonLines, loadStageModel, loadTokenizer } from './model-files.js';
import { relativeTo } from './paths.js';

export const supervisedStage: PipelineStage = {
  id: 'sft',
  title: 'Supervised fine-tuning',
  requires: ['tokenize', 'extend'],
  async run(context) {
    const { recipe, run, signal, onProgress } = context;
    const folder = run.folder('sft');
    await mkdir(folder, { recursive: true });
    const trainFile = join(folder, 'conversations.jsonl');
    const heldOutFile = join(folder, 'conversations.heldout.jsonl');
    for (const [file, problems] of [
      [trainFile, mathsProblems(recipe, 'sft', recipe.sft.problems)],
      [heldOutFile, mathsProblems(recipe, 'sftHeldOut', recipe.sft.heldOutProblems)],
    ] as const) {
      await writeFileAtomic(file, jsonLines(problems.map(mathsConversation)));
    }
    const model = await loadStageModel(context, 'extend');
    try {
      const result = await runSupervisedFineTuning({
        model,
        tokenizer: createChatTokenizer(await loadTokenizer(context)),
        stage: recipe.sft.stage,
        folder: join(folder, 'run'),
        seed: recipe.seed,
        checkpoints: recipe.sft.checkpoints,
        conversations: readConversations(trainFile),
        heldOut: readConversations(heldOutFile),
        signal,
        onProgress,
      });
      const metrics = join(folder, 'run', 'metrics.jsonl');
      return {
        outputs: [...(await filesOfFolder(result.modelFolder)), metrics, trainFile, heldOutFile],
        summary: {
          model: relativeTo(run, result.modelFolder),
          metricsFiles: [relativeTo(run, metrics)],
          steps: result.steps,
          conversations: result.conversations,
          assistantTokens: result.assistantTokens,
          loss: result.finalLoss,
          heldOutLossBefore: result.heldOutLossBefore,
          heldOutLoss: result.heldOutLoss,
        },
        headline: `${formatCount(result.conversations.used)} conversations, loss ${result.finalLoss.toFixed(3)}, held-out ${result.heldOutLossBefore?.toFixed(3)} → ${result.heldOutLoss?.toFixed(3)}`,
      };
    } finally {
      model.dispose();
    }
  },
};
