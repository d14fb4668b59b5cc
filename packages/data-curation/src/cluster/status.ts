/**
 * What has become of a submitted curation: for each task, whether its pieces are there, what Slurm knows of it, and what it wrote about
 * its failure. Reads only.
 */

import { join, resolve } from 'node:path';
import { exists } from '../engine/output-folder.js';
import { jobName, restartCommand } from './batch-script.js';
import type { ClusterRun } from './cluster-run.js';
import { loadClusterRun } from './cluster-run.js';
import { clusterFolder } from './layout.js';
import type { AttemptNote, FailureNote } from './notes.js';
import { readNote } from './notes.js';
import type { StageProgress } from './progress.js';
import { readProgress } from './progress.js';
import type { QueuedTask } from './slurm.js';
import { activityOf, listJobs } from './slurm.js';
import { stagesOf } from './stages.js';

/** `missing`: neither done nor in Slurm's queue, and it did not start; mostly because a stage before failed. */
export type CurationTaskState = 'done' | 'running' | 'waiting' | 'failed' | 'missing';

export interface CurationStageStatus extends Record<CurationTaskState, number> {
  name: string;
  tasks: number;
}

export interface FailedCurationTask {
  stage: string;
  task: number;
  node: string | undefined;
  reason: string;
  log: string;
  /** The command that runs it again by itself. */
  restart: string;
}

export interface CurationStatus {
  outputFolder: string;
  runId: string | undefined;
  /** `stopped`: not finished, and nothing waits or runs: submit again, which runs what is missing. */
  state: 'finished' | 'active' | 'stopped';
  stages: CurationStageStatus[];
  failed: FailedCurationTask[];
}

/**
 * @throws CurationError `CLUSTER_RUN_NOT_FOUND`, `PLAN_CHANGED`, `SOFTWARE_CHANGED`, `SLURM_NOT_FOUND`, `SLURM_FAILED`.
 */
export async function curationStatus(folder: string): Promise<CurationStatus> {
  const outputFolder = resolve(folder);
  if (await exists(join(outputFolder, 'manifest.json'))) {
    return { outputFolder, runId: undefined, state: 'finished', stages: [], failed: [] };
  }
  const run = await loadClusterRun(outputFolder);
  // First the queue: a task that publishes its last piece and ends in between is done, and not lost.
  const queue = await queueOf(run);
  const progress = await readProgress(run, outputFolder).catch(async (error: unknown) => {
    if (await exists(join(outputFolder, 'manifest.json'))) return undefined;
    throw error;
  });
  if (progress === undefined || (await exists(join(outputFolder, 'manifest.json')))) return curationStatus(folder);
  const stages: CurationStageStatus[] = [];
  const failed: FailedCurationTask[] = [];
  for (const stage of progress) {
    const counts: CurationStageStatus = {
      name: stage.name,
      tasks: stage.tasks,
      done: stage.tasks - stage.open.length,
      running: 0,
      waiting: 0,
      failed: 0,
      missing: 0,
    };
    for (const task of stage.open) {
      const queued = queue.get(`${stage.name} ${task}`);
      const { state, failure } = await describe(outputFolder, stage, task, queued);
      counts[state]++;
      if (failure !== undefined) failed.push(failure);
    }
    stages.push(counts);
  }
  const isActive = stages.some(({ running, waiting }) => running + waiting > 0);
  return { outputFolder, runId: run.runId, state: isActive ? 'active' : 'stopped', stages, failed };
}

/** By `stage task`: of several jobs that had the task, the one that may still do something, else the last. */
async function queueOf(run: ClusterRun): Promise<Map<string, QueuedTask>> {
  const stages = new Map(clusterJobNames(run));
  const queue = new Map<string, QueuedTask>();
  for (const job of await listJobs([...stages.keys()])) {
    const key = `${stages.get(job.jobName)} ${job.task ?? 0}`;
    const known = queue.get(key);
    if (known === undefined || activityOf(known) === 'ended') queue.set(key, job);
  }
  return queue;
}

function clusterJobNames(run: ClusterRun): [string, string][] {
  return stagesOf(run.plan, run.tasks).map(({ name }) => [jobName(run.runId, name), name]);
}

async function describe(
  outputFolder: string,
  stage: StageProgress,
  task: number,
  queued: QueuedTask | undefined,
): Promise<{ state: CurationTaskState; failure?: FailedCurationTask }> {
  const activity = queued === undefined ? 'ended' : activityOf(queued);
  if (activity !== 'ended') return { state: activity };
  const folder = clusterFolder(outputFolder);
  const failure = await readNote<FailureNote>(folder.failure(stage.name, task));
  const attempt = await readNote<AttemptNote>(folder.attempt(stage.name, task));
  const describeFailure = (node: string | undefined, reason: string): FailedCurationTask => ({
    stage: stage.name,
    task,
    node,
    reason,
    log: folder.log(stage.name, task),
    restart: restartCommand(folder, stage, [task]),
  });
  const ending =
    queued === undefined ? '' : ` (Slurm: ${queued.state}${queued.reason === 'None' ? '' : `, ${queued.reason}`})`;
  if (failure !== undefined && failure.startedAt >= (attempt?.startedAt ?? '')) {
    // One that was interrupted does not know by what: Slurm does, its time limit for instance.
    const by = failure.code === 'ABORTED' ? ending : '';
    return { state: 'failed', failure: describeFailure(failure.node, `${failure.message} [${failure.code}]${by}`) };
  }
  if (attempt !== undefined) {
    const reason = `ended without a word${ending}: killed, out of memory or time, or its node went down`;
    return { state: 'failed', failure: describeFailure(attempt.node, reason) };
  }
  if (queued !== undefined && queued.node !== '') {
    const reason = `ended on ${queued.node} before it could begin${ending}: does that node see ${folder.root}? Try: srun --nodelist=${queued.node} ls ${folder.root}`;
    return { state: 'failed', failure: describeFailure(queued.node, reason) };
  }
  return { state: 'missing' };
}
