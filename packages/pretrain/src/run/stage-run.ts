/** One run of a stage: restores, steps, reports, saves. What survives a kill is decided here; see run-pretrain-stage.ts. */
import { join } from 'node:path';
import type { CausalLanguageModel } from '@xgen-small/model-core';
import type { TrainingCheckpoint } from '../checkpoint/checkpoint-store';
import { listFolder } from '../checkpoint/durable-folder';
import type { Json } from '../checkpoint/identity';
import type { BatchPackerState } from '../data/batch-packer';
import type { MicroBatch } from '../data/micro-batch';
import { PretrainError } from '../errors';
import { evaluateLoss } from '../evaluate/evaluate-loss';
import { MetricsLog } from '../metrics/metrics-log';
import type { PretrainMetricsRow } from '../metrics/metrics-row';
import { optimizerVariables, type Optimizer, type OptimizerState } from '../optimizer/optimizer';
import { decayProgressAt, learningRateAt } from '../schedule/learning-rate';
import { MetricsMeter } from './metrics-meter';
import type { HeldOutOptions, PretrainStageOptions, PretrainStageResult } from './options';
import type { PreparedRun } from './prepare-run';
import { trainStep } from './train-step';
import { parseTrainingState, type TrainingState } from './training-state';

export class StageRun {
  private readonly metrics: MetricsLog<PretrainMetricsRow>;
  private readonly meter: MetricsMeter;
  private state: TrainingState;
  private lastRow?: PretrainMetricsRow;
  private saved?: { step: number; folder: string; at: number };
  /** The micro-batches of the step to come, packed while the device computed the one before. */
  private next?: Promise<PackedStep>;

  constructor(
    private readonly options: PretrainStageOptions,
    private readonly prepared: PreparedRun,
    private readonly model: CausalLanguageModel,
    private readonly optimizer: Optimizer,
    private optimizerState: OptimizerState,
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
      domains: packer.packed(),
      modelFolder,
      checkpointFolder,
      metricsFile: this.metrics.file,
      alreadyFinished,
    };
  }

  async dispose(): Promise<void> {
    await this.next?.catch(() => undefined); // it reads from data that the caller may close
    this.optimizer.dispose(this.optimizerState);
    await this.metrics.close();
  }

  private async restore(checkpoint: TrainingCheckpoint | undefined): Promise<void> {
    const { packer, optimizerSource } = this.prepared;
    const source = checkpoint ?? optimizerSource;
    if (source !== undefined) {
      await source.restoreVariables(optimizerVariables(this.optimizerState));
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
    const { microBatches, stateAfter } = await (this.next ?? this.pack(step));
    this.next = undefined;
    const result = await trainStep({
      model: this.model,
      optimizer: this.optimizer,
      optimizerState: this.optimizerState,
      microBatches,
      domainCount: packer.domainNames.length,
      learningRate,
      maximumGradientNorm: stage.maximumGradientNorm,
      recompute: this.options.recompute ?? stage.recompute,
      reduceGradients: this.options.reduceGradients,
      between: () => this.turn(),
      meanwhile: () => {
        if (step + 1 === stage.steps) return;
        this.next = this.pack(step + 1);
        // Its failure is the next step's: this one is not lost by it.
        this.next.catch(() => undefined);
      },
    });
    if (!result.finite) throw this.notFinite(step + 1, result.negativeLogLikelihood, result.gradientNorm);
    this.optimizerState = result.optimizerState;
    this.meter.add(result, stage.tokensPerStep);
    await this.finishStep(learningRate, result.gradientNorm, stateAfter);
  }

  /** What step `step` trains on. The packer is ahead of the counters from here on, so the state to save goes with it. */
  private async pack(step: number): Promise<PackedStep> {
    const { stage, packer } = this.prepared;
    const progress = decayProgressAt(stage.learningRate, step, stage.steps);
    const microBatches: MicroBatch[] = [];
    for (let i = 0; i < stage.tokensPerStep / stage.microBatchTokens; i++)
      microBatches.push(await packer.next(progress));
    return { microBatches, stateAfter: packer.state };
  }

  /** The parameters are those after this step from here on; counters, metrics and checkpoint follow. */
  private async finishStep(learningRate: number, gradientNorm: number, data: BatchPackerState): Promise<void> {
    const { stage } = this.prepared;
    const { onMetrics, metricsEverySteps = 1, heldOut } = this.options;
    const step = this.state.step + 1;
    const tokens = step * stage.tokensPerStep;
    const last = step === stage.steps;
    const evaluationIsDue = heldOut !== undefined && (last || step % heldOut.everySteps === 0);
    const rowIsDue = last || evaluationIsDue || step % metricsEverySteps === 0;
    if (rowIsDue) {
      const row = this.meter.row({ stage: stage.name, step, tokens, learningRate, gradientNorm });
      this.lastRow = evaluationIsDue ? { ...row, ...(await this.heldOutLoss(heldOut)) } : row;
      await this.metrics.append(this.lastRow);
    }
    this.state = {
      step,
      optimizerStep: this.optimizerState.step,
      data,
      metricsRows: this.metrics.rows,
      sinceRow: this.meter.sums(),
    };
    if (rowIsDue) onMetrics?.(this.lastRow!);
    this.report(`loss ${(this.lastRow?.loss ?? Number.NaN).toFixed(3)}`);
    if (this.checkpointIsDue()) await this.save();
  }

  /** Not interruptible: the update before it is applied, but not counted yet. */
  private async heldOutLoss({
    everySteps: _,
    ...held
  }: HeldOutOptions): Promise<Pick<PretrainMetricsRow, 'heldOutLoss' | 'heldOutLossByDomain'>> {
    const { contextLength, microBatchTokens, prependBeginToken } = this.prepared.stage;
    const settings = { contextLength, microBatchTokens, prependBeginToken };
    const { overall, domains } = await evaluateLoss({ model: this.model, ...settings, ...held });
    const byDomain = Object.entries(domains).map(([name, { loss }]) => [name, loss]);
    return { heldOutLoss: overall.loss, heldOutLossByDomain: Object.fromEntries(byDomain) as Record<string, number> };
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
      variables: optimizerVariables(this.optimizerState),
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

interface PackedStep {
  microBatches: readonly MicroBatch[];
  stateAfter: BatchPackerState;
}

/** Unwinds a step that is not to be finished; nothing of it has reached the parameters. */
class Interrupted extends Error {}
