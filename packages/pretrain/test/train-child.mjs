// Runs one stage as its own process, from a JSON file of arguments: prints each finished step, ends with 3 and the error on failure.
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel } from '@xgen-small/model-core';
import { memoryDocumentSource, runPretrainStage } from '../dist/index.js';

const { documents, config, stage, folder, checkpoints } = JSON.parse(await readFile(process.argv[2], 'utf8'));
const controller = new AbortController();
process.on('SIGINT', () => controller.abort());
process.on('SIGXFSZ', () => {}); // a write beyond RLIMIT_FSIZE then fails with EFBIG instead of killing the process

await initializeBackend();
try {
  await runPretrainStage({
    model: CausalLanguageModel.initialize(config, { seed: 7 }),
    data: memoryDocumentSource(documents, { vocabularySize: config.vocabularySize }),
    stage,
    folder,
    seed: 1,
    checkpoints,
    signal: controller.signal,
    // a pause in the middle of every step, so that a signal meets it however fast the backend is
    reduceGradients: async (gradients) => {
      await setTimeout(4);
      return gradients;
    },
    onProgress: ({ completed }) => process.stdout.write(`${completed}\n`),
  });
} catch (error) {
  process.stderr.write(`${error.code}: ${error.message}`);
  process.exitCode = 3;
}
