/**
 * The training loop of one stage. The state after step s is a function of stage, model, data and seed alone, so a run that
 * was interrupted anywhere, by a signal or by kill -9, and called again ends with the same bytes as one that wasn't.
 *
 *   <folder>/metrics.jsonl            a row every `metricsEverySteps` updates
 *   <folder>/checkpoints/step-…/      the newest checkpoint (see checkpoint-store.ts)
 *   <folder>/model/                   the trained model, once the stage is finished
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CausalLanguageModel } from '@xgen-small/model-core';
import { assertSameIdentity, type TrainingCheckpoint } from '../checkpoint/checkpoint-store';
import { listFolder, removeTemporaryFolders } from '../checkpoint/durable-folder';
import { hashVariables, identityDifferences, type Json } from '../checkpoint/identity';
import { PretrainError } from '../errors';
import { MetricsLog } from '../metrics/metrics-log';
import type { PretrainMetricsRow } from '../metrics/metrics-row';
import { adamWVariables, createAdamW, type AdamW, type AdamWState } from '../optimizer/adam-w';
import { decayProgressAt, learningRateAt } from '../schedule/learning-rate';
import { MetricsMeter } from './metrics-meter';
import type { PretrainStageOptions, PretrainStageResult } from './options';
import { modelForStage, prepareRun, type PreparedRun } from './prepare-run';
import { trainStep } from './train-step';
import { parseTrainingState, type TrainingState } from './training-state';

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
  const optimizer = createAdamW(prepared.stage.optimizer);
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

class StageRun {
  private readonly metrics: MetricsLog<PretrainMetricsRow>;
  private readonly meter: MetricsMeter;
  private state: TrainingState;
  private lastRow?: PretrainMetricsRow;
  private saved?: { step: number; folder: string; at: number };

  constructor(
    private readonly options: PretrainStageOptions,
    private readonly prepared: PreparedRun,
    private readonly model: CausalLanguageModel,
    private readonly optimizer: AdamW,
    private optimizerState: AdamWState,
  ) {
    this.metrics = new MetricsLog(join(options.folder, 'metrics.jsonl'));
    this.meter = new MetricsMeter(prepared.packer.domainNames);
    this.state = { step: 0, optimizerStep: 0, data: prepared.packer.state, metricsRows: 0, sinceRow: {} };
  }

  async toEnd(checkpoint: TrainingCheckpoint | undefined): Promise<PretrainStageResult> {
    const { stage, packer } = this.prepared;
    await this.restore(checkpoint);
    const alreadyFinished = this.state.step === stage.steps;
    try {
      while (this.state.step < stage.steps) await this.step();
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      return await this.abort();
    }
    const modelFolder = join(this.options.folder, 'model');
    // The model first: where the last checkpoint exists, the model does too.
    if (!alreadyFinished || !(await listFolder(modelFolder)).includes('config.json'))
      await this.writeModel(modelFolder);
    const checkpointFolder = await this.save();
    return {
      model: this.model,
      step: stage.steps,
      tokens: stage.steps * stage.tokensPerStep,
      loss: this.lastRow?.loss ?? Number.NaN,
      domains: packer.drawn(),
      modelFolder,
      checkpointFolder,
      metricsFile: this.metrics.file,
      alreadyFinished,
    };
  }

  async dispose(): Promise<void> {
    this.optimizer.dispose(this.optimizerState);
    await this.metrics.close();
  }

  private async restore(checkpoint: TrainingCheckpoint | undefined): Promise<void> {
    const { packer, optimizerSource } = this.prepared;
    const source = checkpoint ?? optimizerSource;
    if (source !== undefined) {
      await source.restoreVariables(adamWVariables(this.optimizerState));
      const { optimizerStep } = parseTrainingState(source);
      this.state = { ...this.state, optimizerStep };
      this.optimizerState = { ...this.optimizerState, step: optimizerStep };
    }
    if (checkpoint !== undefined) {
      await checkpoint.restoreModel(this.model);
      this.state = parseTrainingState(checkpoint);
      packer.state = this.state.data;
    }
    this.lastRow = await this.metrics.resume(this.state.metricsRows);
    this.meter.resume(this.state.sinceRow, this.lastRow?.seconds ?? 0);
    const { step } = this.state;
    this.saved = { step, folder: checkpoint?.folder ?? '', at: performance.now() };
    this.report(checkpoint === undefined ? undefined : `continuing after step ${step}`);
  }

  private async step(): Promise<void> {
    const { stage, packer } = this.prepared;
    const { step } = this.state;
    await this.turn();
    this.meter.start();
    const learningRate = learningRateAt(stage.learningRate, step, stage.steps);
    const progress = decayProgressAt(stage.learningRate, step, stage.steps);
    const microBatches = [];
    for (let i = 0; i < stage.tokensPerStep / stage.microBatchTokens; i++)
      microBatches.push(await packer.next(progress));
    const result = await trainStep({
      model: this.model,
      optimizer: this.optimizer,
      optimizerState: this.optimizerState,
      microBatches,
      domainCount: packer.domainNames.length,
      learningRate,
      maximumGradientNorm: stage.maximumGradientNorm,
      recomputeBlocks: this.options.recomputeBlocks,
      reduceGradients: this.options.reduceGradients,
      between: () => this.turn(),
    });
    if (!result.finite) throw this.notFinite(step + 1, result.negativeLogLikelihood, result.gradientNorm);
    this.optimizerState = result.optimizerState;
    this.meter.add(result, stage.tokensPerStep);
    await this.finishStep(learningRate, result.gradientNorm);
  }

  /** The parameters are those after this step from here on; counters, metrics and checkpoint follow. */
  private async finishStep(learningRate: number, gradientNorm: number): Promise<void> {
    const { stage, packer } = this.prepared;
    const { onMetrics, metricsEverySteps = 1 } = this.options;
    const step = this.state.step + 1;
    const tokens = step * stage.tokensPerStep;
    const rowIsDue = step % metricsEverySteps === 0 || step === stage.steps;
    if (rowIsDue) {
      this.lastRow = this.meter.row({ stage: stage.name, step, tokens, learningRate, gradientNorm });
      await this.metrics.append(this.lastRow);
    }
    this.state = {
      step,
      optimizerStep: this.optimizerState.step,
      data: packer.state,
      metricsRows: this.metrics.rows,
      sinceRow: this.meter.sums(),
    };
    if (rowIsDue) onMetrics?.(this.lastRow!);
    this.report(`loss ${(this.lastRow?.loss ?? Number.NaN).toFixed(3)}`);
    if (this.checkpointIsDue()) await this.save();
  }

  private checkpointIsDue(): boolean {
    const { everySteps, everySeconds = 300 } = this.options.checkpoints ?? {};
    const { step } = this.state;
    if (step === this.prepared.stage.steps) return false; // written by toEnd
    if (everySteps !== undefined && step % everySteps === 0) return true;
    return performance.now() - this.saved!.at >= everySeconds * 1000;
  }

  private async save(): Promise<string> {
    const { store, identity } = this.prepared;
    if (this.saved!.step === this.state.step && this.saved!.folder !== '') return this.saved!.folder;
    await this.metrics.sync();
    const folder = await store.save({
      step: this.state.step,
      model: this.model,
      variables: adamWVariables(this.optimizerState),
      state: this.state as unknown as Json,
      identity,
    });
    this.saved = { step: this.state.step, folder, at: performance.now() };
    return folder;
  }

  private async writeModel(folder: string): Promise<void> {
    try {
      await this.model.save(folder, this.options.modelFolder);
    } catch (cause) {
      throw new PretrainError(
        'WRITE_FAILED',
        `The model could not be written to ${folder}: ${(cause as Error).message}`,
        {
          value: folder,
          remedy: `Free space or fix the folder, then run again; the last checkpoint is intact.`,
          cause,
        },
      );
    }
  }

  private async abort(): Promise<never> {
    const { step } = this.state;
    if (step > 0) await this.save();
    throw new PretrainError('ABORTED', `Stage "${this.prepared.stage.name}" was interrupted after step ${step}.`, {
      value: step,
      remedy: 'Its state is on disk; the same call continues.',
      cause: this.options.signal?.reason,
    });
  }

  private notFinite(step: number, losses: Float64Array, gradientNorm: number): PretrainError {
    const names = this.prepared.packer.domainNames.filter((_, i) => !Number.isFinite(losses[i]));
    const what = names.length > 0 ? `the loss of ${names.join(', ')}` : `the gradient's norm (${gradientNorm})`;
    const last = this.saved!.folder;
    return new PretrainError(
      'NON_FINITE_LOSS',
      `Stage "${this.prepared.stage.name}": ${what} is not finite in step ${step}; the step was not applied. ` +
        (last === '' ? 'There is no checkpoint yet.' : `The last good checkpoint is ${last}.`),
      { value: { step, gradientNorm, checkpoint: last }, remedy: 'Lower the learning rate or check the data.' },
    );
  }

  /** Lets the event loop turn, so that signals and timers arrive; throws when the run is to stop. */
  private async turn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.options.signal?.aborted === true) throw new Interrupted();
  }

  private report(detail?: string): void {
    const { name, steps } = this.prepared.stage;
    this.options.onProgress?.({ task: name, completed: this.state.step, total: steps, unit: 'steps', detail });
  }
}

/** Unwinds a step that is not to be finished; nothing of it has reached the parameters. */
class Interrupted extends Error {}

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
