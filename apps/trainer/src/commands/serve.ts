/** `xgen serve`: the final model of a run, or any model folder with a tokenizer, behind an OpenAI-compatible endpoint. */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { BackendName } from '@xgen-small/kernels';
import { CausalLanguageModel } from '@xgen-small/model-core';
import { createServer } from '@xgen-small/serve';
import { TrainerError } from '../errors.js';
import type { Recipe } from '../recipe/recipe-schema.js';
import { RunFolder } from '../run/run-folder.js';
import { startBackend } from '../run/start-backend.js';
import { openTokenizer, plainMessages } from '../stages/model-files.js';

export async function serveCommand(
  folder: string,
  options: { port: number; backend?: BackendName; logLevel: string },
  signal: AbortSignal,
): Promise<void> {
  const { modelFolder, modelName, compute } = await findModel(folder);
  const backend = await startBackend({
    ...(compute ?? { matmulPrecision: 'float32' }),
    backend: options.backend ?? compute?.backend ?? 'auto',
  });
  const log = (text: string): void => {
    if (options.logLevel !== 'quiet') process.stdout.write(`${text}\n`);
  };
  for (const warning of backend.warnings) log(`Warning: ${warning}`);
  const { tokenizer, chatTemplate } = await openTokenizer(modelFolder);
  const model = await CausalLanguageModel.load(modelFolder, { signal });
  const server = createServer({
    model,
    tokenizer,
    chatTemplate: plainMessages(chatTemplate),
    modelName,
    onRequest:
      options.logLevel === 'debug'
        ? (event) =>
            log(
              `${event.method} ${event.path} ${event.status} ${event.milliseconds.toFixed(0)} ms, ${event.completionTokens} tokens`,
            )
        : undefined,
  });
  const address = await server.listen(options.port).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ADDRESS_IN_USE') {
      throw new TrainerError('INVALID_ARGUMENT', `Port ${options.port} is in use.`, {
        value: options.port,
        remedy: 'Give another --port, or 0 for a free one.',
        cause: error,
      });
    }
    throw error;
  });
  log(`${modelName} on ${backend.name}: chat at ${address.url}/, OpenAI API at ${address.url}/v1 (Ctrl-C stops)`);
  await new Promise<void>((done) => {
    if (signal.aborted) done();
    signal.addEventListener('abort', () => done(), { once: true });
  });
  await server.close();
  model.dispose();
}

/** A run folder's `model/` and what its recipe computes with, or a folder that itself holds a model. */
export async function findModel(
  folder: string,
): Promise<{ modelFolder: string; modelName: string; compute?: Recipe['compute'] }> {
  const path = resolve(folder);
  if (existsSync(join(path, 'config.json'))) return { modelFolder: path, modelName: basename(path) };
  if (existsSync(join(path, 'recipe.json'))) {
    const { recipe, state } = await RunFolder.read(path);
    if (!state.stages.ppo) {
      throw new TrainerError(
        'STAGE_NOT_READY',
        `The run ${path} has no final model yet: its stage "ppo" has not finished.`,
        {
          value: path,
          remedy:
            'Let `xgen run` finish first, or give a model folder inside the run (such as sft/run/model) that has a tokenizer.',
        },
      );
    }
    return { modelFolder: join(path, 'model'), modelName: `xgen-small-${recipe.name}`, compute: recipe.compute };
  }
  throw new TrainerError('INVALID_ARGUMENT', `${path} is neither a run folder nor a model folder.`, {
    value: folder,
    remedy: 'Run `npm start` first, or give the folder of a run or of a model (with config.json).',
  });
}
