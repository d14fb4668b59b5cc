/**
 * Submits a curation as Slurm job arrays, one for each stage; called again, it submits what is missing. Inventory and downloads happen
 * here, since the nodes of a cluster often have no way out.
 *
 * Dependencies: every stage starts `afterok` the last single task before it, and goes when that fails (`--kill-on-invalid-dep`). What
 * follows an array starts `afterany` and looks itself whether all pieces are there: so a task that failed and was run again by
 * hand, or that Slurm put back in the queue when a node died, counts for what it published and not for how it ended.
 */

import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CurationRun } from '../engine/curate.js';
import { lockFolder } from '../engine/folder-lock.js';
import { softwareVersions } from '../engine/manifest.js';
import { claimFolder, readFinished } from '../engine/output-folder.js';
import { loadReferences } from '../engine/references.js';
import type { CurateOptions, CurateResult } from '../engine/types.js';
import { workFolder } from '../engine/work-folder.js';
import { CurationError } from '../errors.js';
import type { CurationPlanInput } from '../plan/schema.js';
import { hashPlan, parseCurationPlan } from '../plan/schema.js';
import { downloadSources } from '../sources/download.js';
import { canonicalJson } from '../util/canonical-json.js';
import { writeFileWhole } from '../util/files.js';
import { batchScript, jobName } from './batch-script.js';
import type { ClusterRun, ClusterRunFile } from './cluster-run.js';
import { findClusterRun } from './cluster-run.js';
import type { ClusterFolder } from './layout.js';
import { clusterFolder } from './layout.js';
import type { StageProgress } from './progress.js';
import { readProgress } from './progress.js';
import { activityOf, arraySpecification, callSlurm, listJobs, submitJob } from './slurm.js';
import { stagesOf } from './stages.js';

export interface SubmitCurationOptions extends Pick<
  CurateOptions,
  'signal' | 'downloadHeaders' | 'onProgress' | 'memoryLimit'
> {
  /** On storage that every node shares. A folder holding another plan's output is refused. */
  outputFolder: string;
  /**
   * Program and arguments that run one task on a node; output folder, run id, stage and task number are added. It has to call
   * `runCurationTask` with them and exit with 1 when that throws.
   */
  command: readonly string[];
  /** Tasks of each array; default: one for every 16 pieces of input, at most 256. Never changes the output. */
  tasks?: number;
  /** Worker threads, and processors, of a task; default 1. */
  workers?: number;
  /** More options for every job, each one word: `--partition=cpu`, `--mem=4G`, `--time=02:00:00`. */
  sbatchOptions?: readonly string[];
}

export interface SubmittedJob {
  stage: string;
  jobId: string;
  /** Those submitted; finished ones are not. */
  tasks: number[];
}

export interface CurationSubmission {
  outputFolder: string;
  runId: string | undefined;
  /** Empty when the output is finished. */
  jobs: SubmittedJob[];
  finished: CurateResult | undefined;
}

const piecesPerTask = 16;
const mostTasks = 256;

/**
 * @throws CurationError what `curate` throws before it starts, `SLURM_NOT_FOUND`, `SLURM_FAILED` (then nothing stays submitted),
 * `CLUSTER_RUN_ACTIVE` (tasks of an earlier submission are still waiting or running).
 */
export async function submitCuration(
  planInput: CurationPlanInput,
  options: SubmitCurationOptions,
): Promise<CurationSubmission> {
  const plan = parseCurationPlan(planInput);
  const planHash = hashPlan(plan);
  const workers = positive('workers', options.workers ?? 1);
  const tasks = options.tasks === undefined ? undefined : positive('tasks', options.tasks);
  const outputFolder = resolve(options.outputFolder);
  checkWords(outputFolder, options);
  const finished = await readFinished(outputFolder, plan, planHash);
  if (finished !== undefined) return { outputFolder, runId: undefined, jobs: [], finished };
  await callSlurm('sbatch', ['--version'], 'Check the installation of Slurm.');
  const lock = await lockFolder(outputFolder);
  try {
    await claimFolder(outputFolder, plan, planHash);
    const before = await findClusterRun(outputFolder);
    if (before !== undefined) await refuseActive(outputFolder, before);
    const folder = clusterFolder(outputFolder);
    const pieces = await prepare(new CurationRun(plan, planHash, outputFolder, workers, options), folder, options);
    const run: ClusterRun = {
      formatVersion: 1,
      runId: before?.runId ?? randomBytes(4).toString('hex'),
      planHash,
      plan,
      software: await softwareVersions(),
      tasks: tasks ?? Math.max(1, Math.min(mostTasks, Math.ceil(pieces / piecesPerTask))),
      workers,
      ...(options.memoryLimit === undefined ? {} : { memoryLimit: options.memoryLimit }),
    };
    await writeRun(run, outputFolder, folder, options);
    const jobs = await submitStages(run, folder, await readProgress(run, outputFolder));
    return { outputFolder, runId: run.runId, jobs, finished: undefined };
  } finally {
    await lock.release();
  }
}

function positive(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new CurationError('OPTION_INVALID', `${name} is ${value}.`, {
    value,
    remedy: 'Give a whole number, 1 or more.',
  });
}

const ownOptions = /^(--(array|dependency|output|error|job-name|wrap|open-mode|parsable|test-only|wait)\b|-[aedoJW])/;

function checkWords(outputFolder: string, { command, sbatchOptions = [] }: SubmitCurationOptions): void {
  if (command.length === 0) {
    throw new CurationError('OPTION_INVALID', 'command is empty.', {
      value: command,
      remedy: 'Give the program that runs a task, for example [process.execPath, script].',
    });
  }
  if (/[\\\n\r]/.test(outputFolder)) {
    throw new CurationError('OPTION_INVALID', `Slurm takes no log files in ${JSON.stringify(outputFolder)}.`, {
      value: outputFolder,
      remedy: 'Choose an output folder without backslashes and line breaks in its path.',
    });
  }
  for (const option of sbatchOptions) {
    if (!option.startsWith('-') || /[\n\r]/.test(option) || ownOptions.test(option)) {
      throw new CurationError('OPTION_INVALID', `The sbatch option ${JSON.stringify(option)} cannot be used here.`, {
        value: option,
        remedy: 'Give options of the form --name=value; name, array, dependencies and logs of the jobs are set here.',
      });
    }
  }
}

async function refuseActive(outputFolder: string, run: ClusterRun): Promise<void> {
  const names = stagesOf(run.plan, run.tasks).map(({ name }) => jobName(run.runId, name));
  const active = (await listJobs(names)).filter((job) => activityOf(job) !== 'ended');
  if (active.length === 0) return;
  throw new CurationError(
    'CLUSTER_RUN_ACTIVE',
    `${active.length} tasks of ${outputFolder} are still waiting or running (${active[0].jobName}, job ${active[0].jobId}).`,
    {
      value: active.map(({ jobId }) => jobId),
      remedy: `Let them end; failed ones can be started again alone meanwhile (the status says how). To stop all: scancel --name=${names.join(',')}.`,
    },
  );
}

/** Everything that the tasks find ready; returns the number of input pieces. */
async function prepare(engine: CurationRun, folder: ClusterFolder, options: SubmitCurationOptions): Promise<number> {
  const work = workFolder(engine.outputFolder);
  for (const path of [work.tasks, work.shards, work.trim, folder.logs, folder.scratch]) {
    await mkdir(path, { recursive: true });
  }
  // Notes of earlier attempts would only mislead.
  for (const path of [folder.attempts, folder.failures]) {
    await rm(path, { recursive: true, force: true });
    await mkdir(path, { recursive: true });
  }
  const references = await loadReferences(engine.plan);
  await downloadSources(engine.plan, work.downloads, options);
  return (await engine.inventory(references)).length;
}

async function writeRun(
  run: ClusterRun,
  outputFolder: string,
  folder: ClusterFolder,
  { command, sbatchOptions = [] }: SubmitCurationOptions,
): Promise<void> {
  await writeFileWhole(folder.run, `${canonicalJson(run satisfies ClusterRunFile, 2)}\n`);
  await writeFileWhole(folder.runId, run.runId);
  for (const stage of stagesOf(run.plan, run.tasks)) {
    const script = batchScript({
      folder,
      stage,
      runId: run.runId,
      command,
      outputFolder,
      workingFolder: process.cwd(),
      workers: run.workers,
      sbatchOptions,
    });
    await writeFileWhole(folder.script(stage.name), script);
  }
}

/** All stages that have something to do, or none: when sbatch refuses one, those before it are cancelled. */
async function submitStages(
  run: ClusterRun,
  folder: ClusterFolder,
  stages: readonly StageProgress[],
): Promise<SubmittedJob[]> {
  const jobs: SubmittedJob[] = [];
  /** The jobs that the next stage waits for, and how. */
  let dependencies: string[] = [];
  let single: string[] = [];
  try {
    for (const { name, tasks, open } of stages) {
      if (open.length === 0) continue;
      const args: string[] = [];
      if (tasks > 1) args.push(`--array=${arraySpecification(open)}`);
      if (dependencies.length > 0) args.push(`--dependency=${dependencies.join(',')}`, '--kill-on-invalid-dep=yes');
      const jobId = await submitJob([...args, folder.script(name)]);
      jobs.push({ stage: name, jobId, tasks: open });
      if (tasks > 1) {
        dependencies = [...single, `afterany:${jobId}`];
      } else {
        single = [`afterok:${jobId}`];
        dependencies = single;
      }
    }
  } catch (error) {
    if (jobs.length > 0) {
      await callSlurm(
        'scancel',
        jobs.map(({ jobId }) => jobId),
        `Cancel the jobs of run ${run.runId} by hand.`,
      );
    }
    throw error;
  }
  return jobs;
}
