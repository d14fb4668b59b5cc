/** What every pipeline stage gets, and what a stage is. */
import type { ProgressDisplay, ProgressEvent } from '../terminal/progress-display.js';
import type { Recipe } from '../recipe/recipe-schema.js';
import type { RunFolder, StageRecord } from './run-folder.js';

export const stageIds = ['curate', 'tokenize', 'pretrain', 'extend', 'sft', 'dpo', 'ppo', 'eval'] as const;
export type StageId = (typeof stageIds)[number];

/** Stages that compute with no tensors: they run on machines that lack the backend of the training. */
const stagesWithoutTensors: ReadonlySet<StageId> = new Set(['curate', 'tokenize']);

export function needsBackend(stages: readonly StageId[]): boolean {
  return stages.some((id) => !stagesWithoutTensors.has(id));
}

export interface StageContext {
  run: RunFolder;
  recipe: Recipe;
  /** What relative paths of the recipe's curation plan are relative to. */
  baseFolder: string;
  signal: AbortSignal;
  display: ProgressDisplay;
  onProgress: (event: ProgressEvent) => void;
  /** Worker threads for work that isn't training. */
  workers: number;
  /** The record of a stage that this one requires. */
  finished(id: StageId): StageRecord;
}

export interface StageOutcome {
  /** Files that later stages or readers use, absolute; their hashes go into run.json. */
  outputs: string[];
  /** Plain JSON for later stages and the report. */
  summary: Record<string, unknown>;
  /** One line a person reads when the stage is done. */
  headline: string;
}

export interface PipelineStage {
  id: StageId;
  title: string;
  requires: readonly StageId[];
  /** Whether the stage's work was done outside of this process, so that running the stage only checks and records it. */
  isFinishedElsewhere?(context: StageContext): boolean;
  run(context: StageContext): Promise<StageOutcome>;
}
