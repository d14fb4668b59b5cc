/**
 * Runs the stages of a recipe in order, skipping those that finished before. A stage is finished when run.json says so;
 * until then its own package's checkpoints carry it over an interruption. Everything here is idempotent.
 */
import { TrainerError } from '../errors.js';
import type { Recipe } from '../recipe/recipe-schema.js';
import { curateStage } from '../stages/curate.js';
import { directPreferenceStage } from '../stages/dpo.js';
import { evaluateStage } from '../stages/evaluate.js';
import { extendStage } from '../stages/extend.js';
import { proximalPolicyStage } from '../stages/ppo.js';
import { pretrainStage } from '../stages/pretrain.js';
import { supervisedStage } from '../stages/sft.js';
import { tokenizeStage } from '../stages/tokenize.js';
import { formatDuration } from '../terminal/format.js';
import type { ProgressDisplay } from '../terminal/progress-display.js';
import { mergeMetrics } from './merge-metrics.js';
import type { RunFolder } from './run-folder.js';
import { stageIds, type PipelineStage, type StageContext, type StageId } from './stage-context.js';

export const pipelineStages: readonly PipelineStage[] = [
  curateStage,
  tokenizeStage,
  pretrainStage,
  extendStage,
  supervisedStage,
  directPreferenceStage,
  proximalPolicyStage,
  evaluateStage,
];

export interface PipelineOptions {
  run: RunFolder;
  recipe: Recipe;
  baseFolder: string;
  /** Default: all. */
  only?: StageId;
  signal: AbortSignal;
  display: ProgressDisplay;
  workers: number;
}

export async function runPipeline(options: PipelineOptions): Promise<void> {
  const { run, display, signal } = options;
  const context: StageContext = {
    run,
    recipe: options.recipe,
    baseFolder: options.baseFolder,
    signal,
    display,
    onProgress: (event) => display.update(event),
    workers: options.workers,
    finished(id) {
      const record = run.stage(id);
      if (!record) throw notReady(id);
      return record;
    },
  };
  for (const stage of pipelineStages) {
    if (options.only !== undefined && stage.id !== options.only) continue;
    const done = run.stage(stage.id);
    if (done) {
      await run.verifyStage(stage.id);
      display.line(`${titleOf(stage)}: finished before (${formatDuration(done.seconds)})`);
      continue;
    }
    for (const required of stage.requires) {
      if (run.stage(required)) {
        await run.verifyStage(required);
        continue;
      }
      const before = pipelineStages.find(({ id }) => id === required);
      if (!before?.isFinishedElsewhere?.(context)) throw notReady(required, stage.id);
      await runStage(before, context);
    }
    await runStage(stage, context);
  }
}

async function runStage(stage: PipelineStage, context: StageContext): Promise<void> {
  const { run, display, signal } = context;
  signal.throwIfAborted();
  display.line(titleOf(stage));
  const start = performance.now();
  const outcome = await stage.run(context);
  display.finish();
  const seconds = (performance.now() - start) / 1000;
  await run.finishStage(stage.id, { seconds, summary: outcome.summary }, outcome.outputs);
  await mergeMetrics(run);
  display.line(`      ${outcome.headline} (${formatDuration(seconds)})`);
}

function titleOf({ id, title }: PipelineStage): string {
  return `[${stageIds.indexOf(id) + 1}/${stageIds.length}] ${title}`;
}

function notReady(id: StageId, by?: StageId): TrainerError {
  return new TrainerError(
    'STAGE_NOT_READY',
    `The stage "${id}"${by ? `, which "${by}" needs,` : ''} has not finished in this run folder.`,
    {
      value: id,
      remedy: `Run \`xgen ${id}\` with the same recipe and --output first, or \`xgen run\` for all of them.`,
    },
  );
}
