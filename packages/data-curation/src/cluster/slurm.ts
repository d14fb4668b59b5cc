/** Slurm's commands, called without a shell. Everything they print that is not understood ends up in an error. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CurationError } from '../errors.js';

const execute = promisify(execFile);

export type SlurmCommand = 'sbatch' | 'squeue' | 'scancel';

/**
 * What the command printed.
 * @throws CurationError `SLURM_NOT_FOUND`, or `SLURM_FAILED` with what the command said.
 */
export async function callSlurm(command: SlurmCommand, args: readonly string[], remedy: string): Promise<string> {
  try {
    const { stdout } = await execute(command, [...args], { maxBuffer: 256 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: unknown };
    if (code === 'ENOENT') {
      throw new CurationError('SLURM_NOT_FOUND', `There is no command ${command} on this machine.`, {
        value: command,
        remedy:
          "Do this on a machine of the cluster with Slurm's client (a login node), with its commands on the PATH.",
        cause: error,
      });
    }
    const said = typeof stderr === 'string' ? stderr.trim() : '';
    throw new CurationError('SLURM_FAILED', `${command} failed: ${said === '' ? String(error) : said}.`, {
      value: [command, ...args].join(' '),
      remedy,
      cause: error,
    });
  }
}

/** Number of the submitted job. */
export async function submitJob(args: readonly string[]): Promise<string> {
  const printed = await callSlurm(
    'sbatch',
    ['--parsable', ...args],
    'Correct what it complains about: the sbatch options given, or the number of tasks if the cluster allows smaller arrays.',
  );
  const job = /^(\d+)(;|$)/m.exec(printed.trim())?.[1];
  if (job === undefined) {
    throw new CurationError('SLURM_FAILED', `sbatch printed ${JSON.stringify(printed)} instead of a job number.`, {
      value: printed,
      remedy: 'Submit again; cancel the job if it was submitted after all.',
    });
  }
  return job;
}

export interface QueuedTask {
  jobName: string;
  /** Index in the array; undefined for a single job. */
  task: number | undefined;
  jobId: string;
  /** Slurm's word: PENDING, RUNNING, FAILED, ... */
  state: string;
  node: string;
  reason: string;
}

/** Tasks with one of these job names that Slurm knows, those that ended a few minutes ago included. */
export async function listJobs(names: readonly string[]): Promise<QueuedTask[]> {
  const printed = await callSlurm(
    'squeue',
    ['--noheader', '--array', '--states=all', `--name=${names.join(',')}`, '--format=%j|%K|%i|%T|%N|%r'],
    "Check that the cluster's controller answers (sinfo), then try again.",
  );
  const tasks: QueuedTask[] = [];
  for (const line of printed.split('\n')) {
    const [jobName, index, jobId, state, node, reason] = line.trim().split('|');
    if (reason === undefined || !names.includes(jobName)) continue;
    tasks.push({ jobName, task: /^\d+$/.test(index) ? Number(index) : undefined, jobId, state, node, reason });
  }
  return tasks;
}

const waitingStates = new Set(['PENDING', 'REQUEUED', 'REQUEUE_HOLD', 'REQUEUE_FED', 'SPECIAL_EXIT', 'RESV_DEL_HOLD']);
const runningStates = new Set(['RUNNING', 'CONFIGURING', 'SUSPENDED', 'STOPPED', 'SIGNALING', 'STAGE_OUT', 'RESIZING']);

/** What will still happen to a task without anybody's doing. */
export function activityOf({ state }: QueuedTask): 'waiting' | 'running' | 'ended' {
  return waitingStates.has(state) ? 'waiting' : runningStates.has(state) ? 'running' : 'ended';
}

/** `0-3,7` for an array. */
export function arraySpecification(tasks: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const task of [...tasks].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === task - 1) last[1] = task;
    else ranges.push([task, task]);
  }
  return ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(',');
}
