/**
 * The frame of all three stages: open or continue a run folder, do the steps, write metrics and checkpoints, save the
 * model. The folder's conventions and files are pre-training's: `checkpoints/`, `metrics.jsonl`, `model/`.
 *
 * Exact resumption: everything a step depends on is the initial arguments, the checkpoint's variables and its state.
 * Metrics rows carry times; checkpoints don't, so that interrupted and uninterrupted runs end in the same bytes.
 */
import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs-core';
import { CheckpointStore, MetricsLog, PretrainError, type Json, type TrainingCheckpoint } from '@xgen-small/pretrain';
import { PosttrainError } from '../errors.js';
import { throwIfAborted, yieldToEventLoop } from './abort.js';
import type { MetricsEvent, PosttrainRunArguments } from './run-arguments.js';

/** Plain numbers: one row without stage, step and time. */
export type Metrics = Record<string, number>;

export interface TrainingRun<State extends Json> {
  kind: 'sft' | 'dpo' | 'ppo';
  name: string;
  arguments: PosttrainRunArguments<unknown>;
  /** What the run's result depends on, as plain JSON: resolved stage, seed, hashes of model and data. */
  identity: Record<string, Json>;
  /** Everything to save beside the model. */
  variables: ReadonlyMap<string, tf.Variable>;
  totalSteps: number;
  unit: string;
  initialState: State;
  /** Called once before the first step, after variables are restored. Returns the function that does the steps in order. */
  begin(firstStep: number, state: State): StepFunction<State> | Promise<StepFunction<State>>;
}

/** Trains step `step` (from 0); may throw PosttrainError ABORTED as long as it has changed no variable. */
export type StepFunction<State> = (step: number, state: State) => Promise<StepResult<State>>;

export interface StepResult<State> {
  state: State;
  metrics: Metrics;
  /** Seconds of the step's parts: for the metrics row alone, never for the state. */
  seconds?: Metrics;
}

interface SavedState<State> {
  metricsRows: number;
  loop: State;
}

export interface FinishedRun<State> {
  state: State;
  modelFolder: string;
  checkpointFolder: string;
  metricsFile: string;
  /** Nothing was left to do. */
  alreadyFinished: boolean;
}

export async function executeTrainingRun<State extends Json>(run: TrainingRun<State>): Promise<FinishedRun<State>> {
  const { model, folder, checkpoints = {}, signal, onProgress, onMetrics } = run.arguments;
  const { everySteps, everySeconds = 300 } = checkpoints;
  await mkdir(folder, { recursive: true });
  const store = new CheckpointStore({ folder: join(folder, 'checkpoints'), kind: run.kind });
  const log = new MetricsLog<MetricsEvent>(join(folder, 'metrics.jsonl'));
  const checkpoint = await latestCheckpoint(store, run.identity);
  await checkpoint?.restoreModel(model);
  await checkpoint?.restoreVariables(run.variables);
  const saved = checkpoint?.state as SavedState<State> | undefined;
  let state = saved?.loop ?? run.initialState;
  let step = checkpoint?.step ?? 0;
  const lastRow = await log.resume(saved?.metricsRows ?? 0);
  const alreadyFinished = step === run.totalSteps;
  let savedStep = checkpoint?.step ?? -1;
  let checkpointFolder = checkpoint?.folder ?? '';
  const save = async (): Promise<void> => {
    if (savedStep === step) return;
    await log.sync();
    const content: SavedState<State> = { metricsRows: log.rows, loop: state };
    checkpointFolder = await store.save({
      step,
      model,
      variables: run.variables,
      state: content as unknown as Json,
      identity: run.identity,
    });
    savedStep = step;
  };
  const secondsBefore = typeof lastRow?.seconds === 'number' ? lastRow.seconds : 0;
  const started = performance.now();
  let savedAt = started;
  try {
    if (step < run.totalSteps) {
      const trainStep = await run.begin(step, state);
      while (step < run.totalSteps) {
        throwIfAborted(signal, run.name);
        const stepStarted = performance.now();
        const { state: next, metrics, seconds } = await trainStep(step, state);
        assertFinite(run, step, metrics);
        state = next;
        step++;
        const now = performance.now();
        const row: MetricsEvent = {
          stage: run.name,
          step,
          ...metrics,
          ...seconds,
          stepSeconds: (now - stepStarted) / 1000,
          seconds: secondsBefore + (now - started) / 1000,
        };
        await log.append(row);
        onMetrics?.(row);
        onProgress?.({
          task: run.name,
          completed: step,
          total: run.totalSteps,
          unit: run.unit,
          detail: detail(metrics),
        });
        const due = (everySteps !== undefined && step % everySteps === 0) || now - savedAt >= everySeconds * 1000;
        if (due && step < run.totalSteps) {
          await save();
          savedAt = performance.now();
        }
        await yieldToEventLoop();
      }
    }
    await save();
  } catch (error) {
    if (!PosttrainError.isInstance(error) || error.code !== 'ABORTED') throw error;
    await save();
    throw new PosttrainError('ABORTED', `${run.name} was interrupted after ${step} of ${run.totalSteps} ${run.unit}.`, {
      value: step,
      remedy: 'Run the same again to continue.',
      cause: error.cause,
    });
  } finally {
    await log.close();
  }
  const modelFolder = join(folder, 'model');
  if (!alreadyFinished || !(await exists(join(modelFolder, 'config.json')))) {
    await model.save(modelFolder, { extraFiles: run.arguments.modelFiles });
  }
  return { state, modelFolder, checkpointFolder, metricsFile: log.file, alreadyFinished };
}

/** Another recipe's folder is refused in this package's own terms. */
async function latestCheckpoint(
  store: CheckpointStore,
  identity: Record<string, Json>,
): Promise<TrainingCheckpoint | undefined> {
  try {
    return await store.latest(identity);
  } catch (cause) {
    if (!PretrainError.isInstance(cause) || cause.code !== 'RUN_MISMATCH') throw cause;
    throw new PosttrainError('RUN_MISMATCH', cause.message, { value: cause.value, cause });
  }
}

function assertFinite(run: { name: string }, step: number, metrics: Metrics): void {
  for (const [name, value] of Object.entries(metrics)) {
    if (Number.isFinite(value)) continue;
    throw new PosttrainError('NON_FINITE_LOSS', `${run.name}: ${name} became ${value} in step ${step + 1}.`, {
      value,
      remedy: 'Lower the learning rate, check the data, and run again: it continues from the last checkpoint.',
    });
  }
}

function detail({ loss, reward }: Metrics): string {
  return reward === undefined ? `loss ${loss.toFixed(4)}` : `reward ${reward.toFixed(3)}`;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
