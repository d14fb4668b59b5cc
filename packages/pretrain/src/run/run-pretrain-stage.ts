/**
 * The training loop of one stage. The state after step s is a function of stage, model, data and seed alone, so a run that
 * was interrupted anywhere, by a signal or by kill -9, and called again ends with the same bytes as one that wasn't.
 *
 *   <folder>/metrics.jsonl            a row every `metricsEverySteps` updates
 *   <folder>/checkpoints/step-…/      the newest checkpoint (see checkpoint-store.ts)
 *   <folder>/model/                   the trained model, once the stage is finished
 */
import { mkdir } from 'node:fs/promises';
import type { CausalLanguageModel } from '@xgen-small/model-core';
import { assertSameIdentity, type TrainingCheckpoint } from '../checkpoint/checkpoint-store';
import { removeTemporaryFolders } from '../checkpoint/durable-folder';
import { hashVariables, identityDifferences, type Json } from '../checkpoint/identity';
import { PretrainError } from '../errors';
import { createOptimizer } from '../optimizer/create-optimizer';
import type { PretrainStageOptions, PretrainStageResult } from './options';
import { modelForStage, prepareRun } from './prepare-run';
import { StageRun } from './stage-run';

/**
 * Trains the stage to its end, continuing from the folder's newest checkpoint. Throws PretrainError: what is wrong with stage, data or
 * folder before anything changes; ABORTED once the state is safe on disk; NON_FINITE_LOSS; WRITE_FAILED with the last checkpoint intact.
 */
export async function runPretrainStage(options: PretrainStageOptions): Promise<PretrainStageResult> {
  const prepared = await prepareRun(options);
  const checkpoint = await prepared.store.latest();
  if (checkpoint !== undefined) {
    await assertSameRun(checkpoint, prepared.identity, options.model);
    prepared.identity = checkpoint.identity;
  }
  await makeFolder(options.folder);
  await removeTemporaryFolders(options.folder);
  const model = modelForStage(options.model, prepared.stage);
  const optimizer = createOptimizer(prepared.stage.optimizer, model.config);
  const run = new StageRun(options, prepared, model, optimizer, optimizer.initialize(model.parameters));
  try {
    return await run.toEnd(checkpoint);
  } catch (error) {
    if (model !== options.model) model.dispose();
    throw error;
  } finally {
    await run.dispose();
  }
}

/** Refuses a folder of another run; a model that this very checkpoint describes is the same run, going on in one process. */
async function assertSameRun(
  checkpoint: TrainingCheckpoint,
  identity: Record<string, Json>,
  model: CausalLanguageModel,
): Promise<void> {
  const differences = identityDifferences(checkpoint.identity, identity);
  if (differences.length === 1 && differences[0].path === 'model.parameters') {
    const trained = await checkpoint.loadModel();
    const hash = await hashVariables(trained.parameters).finally(() => trained.dispose());
    if (hash === (await hashVariables(model.parameters))) return;
  }
  assertSameIdentity(checkpoint, identity);
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new PretrainError('WRITE_FAILED', `The folder ${folder} cannot be made: ${(cause as Error).message}.`, {
      value: folder,
      remedy: 'Choose a folder that can be written.',
      cause,
    });
  }
}
