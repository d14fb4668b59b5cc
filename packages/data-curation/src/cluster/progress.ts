/**
 * Which tasks of a run are done, read from the pieces that they publish and from nothing else: what Slurm or a task says about itself
 * does not count. Cost: one listing of each folder of pieces, and the inventory.
 */

import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { StoredTask } from '../engine/duplicate-clusters.js';
import { exists, readJson } from '../engine/output-folder.js';
import type { RunInputs } from '../engine/run-inputs.js';
import type { Selection } from '../engine/select.js';
import { shardFileName, shardResultPath } from '../engine/shard-task.js';
import { trimFiles } from '../engine/trim-tasks.js';
import type { WorkFolder } from '../engine/work-folder.js';
import { pieceName, workFolder } from '../engine/work-folder.js';
import { clusterFolder } from './layout.js';
import type { ClusterRun } from './cluster-run.js';
import type { ClusterStage, ClusterStageName } from './stages.js';
import { piecesOf, stagesOf } from './stages.js';

export interface StageProgress extends ClusterStage {
  /** Tasks with pieces that are not there yet, in order. */
  open: number[];
}

/** All stages in order; every task of a stage whose pieces are not known yet is open. */
export async function readProgress(run: ClusterRun, outputFolder: string): Promise<StageProgress[]> {
  if (await exists(join(outputFolder, 'manifest.json'))) {
    return stagesOf(run.plan, run.tasks).map((stage) => ({ ...stage, open: [] }));
  }
  const progress: StageProgress[] = [];
  for (const stage of stagesOf(run.plan, run.tasks)) {
    progress.push({ ...stage, open: await openTasks(run, outputFolder, stage) });
  }
  return progress;
}

/** Tasks of one stage that are not done. */
export async function openTasks(run: ClusterRun, outputFolder: string, stage: ClusterStage): Promise<number[]> {
  const isDone = await doneTest(run, outputFolder, stage.name);
  const open: number[] = [];
  for (let task = 0; task < stage.tasks; task++) if (!isDone(task)) open.push(task);
  return open;
}

async function doneTest(
  run: ClusterRun,
  outputFolder: string,
  stage: ClusterStageName,
): Promise<(task: number) => boolean> {
  const folder = workFolder(outputFolder);
  const all = async (...paths: string[]) => {
    for (const path of paths) if (!(await exists(path))) return () => false;
    return () => true;
  };
  switch (stage) {
    case 'extract': {
      const { tasks } = await readJson<RunInputs>(folder.inventory);
      return havePieces(
        run,
        tasks.map(({ task }) => `${pieceName(task)}.json`),
        await listing(folder.tasks),
      );
    }
    case 'duplicates':
      return all(folder.clusters, folder.representatives, clusterFolder(outputFolder).pieces);
    case 'trim-scan':
    case 'trim-locate':
    case 'trim-apply': {
      const pieces = await readPieces(outputFolder);
      if (pieces === undefined) return () => false;
      const pass = trimPassOf[stage];
      return havePieces(
        run,
        pieces.map(({ task, parts }) => (parts.length === 0 ? undefined : basename(trimFiles.done('', task, pass)))),
        await listing(folder.trim),
      );
    }
    case 'trim-group':
      return run.plan.deduplication.substrings === undefined
        ? all(trimFiles.commonLines(folder.trim))
        : all(trimFiles.commonLines(folder.trim), trimFiles.candidates(folder.trim));
    case 'trim-repeats':
      return all(trimFiles.repeats(folder.trim));
    case 'select':
      return all(folder.selection, folder.decisions);
    case 'shards': {
      const selection = await readSelection(folder);
      if (selection === undefined) return () => false;
      return havePieces(
        run,
        selection.shards.map(({ heldout, shard }) =>
          basename(shardResultPath({ results: '', heldout, path: shardFileName(shard) })),
        ),
        await listing(folder.shards),
      );
    }
    case 'finish':
      return () => false;
  }
}

export const trimPassOf = { 'trim-scan': 'scan', 'trim-locate': 'locate', 'trim-apply': 'apply' } as const;

/** What the stage `duplicates` leaves for later ones; undefined before it. */
export async function readPieces(outputFolder: string): Promise<StoredTask[] | undefined> {
  const path = clusterFolder(outputFolder).pieces;
  return (await exists(path)) ? readJson<StoredTask[]>(path) : undefined;
}

export async function readSelection(folder: WorkFolder): Promise<Selection | undefined> {
  return (await exists(folder.selection)) ? readJson<Selection>(folder.selection) : undefined;
}

/** `names[i]` is the file that piece i publishes last; undefined for a piece that has nothing to do. */
function havePieces(
  { tasks }: ClusterRun,
  names: readonly (string | undefined)[],
  found: ReadonlySet<string>,
): (task: number) => boolean {
  return (task) => piecesOf(names, { task, tasks }).every((name) => name === undefined || found.has(name));
}

async function listing(folder: string): Promise<Set<string>> {
  return new Set(await readdir(folder).catch((): string[] => []));
}
