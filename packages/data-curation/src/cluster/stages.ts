/**
 * The stages of a run on a cluster: a chain in which every stage needs all of the one before. A stage is an array of tasks or a single
 * task that looks at everything. A task does every `tasks`-th piece of its stage (an input piece, or an output shard), so the
 * number of tasks decides who does what, and never what comes out.
 */

import { wantsTrim } from '../engine/trim.js';
import type { CurationPlan } from '../plan/schema.js';

export const clusterStageNames = [
  'extract',
  'duplicates',
  'trim-scan',
  'trim-group',
  'trim-locate',
  'trim-repeats',
  'trim-apply',
  'select',
  'shards',
  'finish',
] as const;

export type ClusterStageName = (typeof clusterStageNames)[number];

export interface ClusterStage {
  name: ClusterStageName;
  /** Tasks 0 to `tasks - 1`; 1 for a stage that looks at everything. */
  tasks: number;
}

const arrays: ReadonlySet<ClusterStageName> = new Set(['extract', 'trim-scan', 'trim-locate', 'trim-apply', 'shards']);

/** The stages that the plan needs, in their order. */
export function stagesOf(plan: CurationPlan, tasks: number): ClusterStage[] {
  const trims = wantsTrim(plan);
  const locates = trims && plan.deduplication.substrings !== undefined;
  const isNeeded = (name: ClusterStageName): boolean => {
    if (name === 'trim-locate' || name === 'trim-repeats') return locates;
    return trims || !name.startsWith('trim-');
  };
  return clusterStageNames.filter(isNeeded).map((name) => ({ name, tasks: arrays.has(name) ? tasks : 1 }));
}

/** Those of `pieces` (numbers, or anything in a fixed order) that a task does. */
export function piecesOf<T>(pieces: readonly T[], { task, tasks }: { task: number; tasks: number }): T[] {
  return pieces.filter((_, index) => index % tasks === task);
}
