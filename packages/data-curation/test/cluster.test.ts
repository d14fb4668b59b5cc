/** Curation as tasks, without a cluster: what is submitted when, and tasks run twice at once, killed, in any number. */

import { cp, mkdir, mkdtemp, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadClusterRun } from '../src/cluster/cluster-run.js';
import { clusterFolder } from '../src/cluster/layout.js';
import type { ClusterStage } from '../src/cluster/stages.js';
import { stagesOf } from '../src/cluster/stages.js';
import { curationStatus } from '../src/cluster/status.js';
import type { SubmitCurationOptions } from '../src/cluster/submit.js';
import { submitCuration } from '../src/cluster/submit.js';
import { runCurationTask } from '../src/cluster/task.js';
import { curate } from '../src/engine/curate.js';
import type { CurationPlanInput } from '../src/plan/schema.js';
import { parseCurationPlan } from '../src/plan/schema.js';
import { seededRandom } from '../src/util/permutation.js';
import { inputFile, writeInput } from './cluster/plan.js';
import { runProgram, SlurmStub } from './cluster/slurm-stub.js';
import { hashFolder } from './folder-hash.js';

const taskProgram = [process.execPath, fileURLToPath(new URL('./cluster/task.mjs', import.meta.url))];
const allStages = [
  ...['extract', 'duplicates', 'trim-scan', 'trim-group', 'trim-locate', 'trim-repeats', 'trim-apply'],
  ...['select', 'shards', 'finish'],
];

let root: string;
let input: string;
let plan: CurationPlanInput;
let expected: Record<string, string>;
let stub: SlurmStub;
let outputFolder: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), `cluster "of" it's %a `));
  input = join(root, 'input');
  await mkdir(input);
  plan = await writeInput(input);
  await curate(plan, { outputFolder: join(root, 'local'), workers: 2 });
  expected = await hashFolder(join(root, 'local'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  stub = await SlurmStub.install(await mkdtemp(join(tmpdir(), 'stub-')));
  outputFolder = join(await mkdtemp(join(root, 'run-')), 'output');
});
afterEach(() => stub.remove());

function submit(options: Partial<SubmitCurationOptions> = {}, submitted = plan) {
  return submitCuration(submitted, { outputFolder, command: taskProgram, tasks: 2, ...options });
}

async function commandOf(stage: ClusterStage, task: number): Promise<string[]> {
  const { runId } = await loadClusterRun(outputFolder);
  return [...taskProgram, outputFolder, runId, stage.name, String(task)];
}

function tasksOf({ tasks }: ClusterStage): number[] {
  return Array.from({ length: tasks }, (_, task) => task);
}

/** In this process, in order, up to a stage (which is not run). */
async function runUpTo(last: string | undefined, tasks = 2): Promise<void> {
  for (const stage of stagesOf(parseCurationPlan(plan), tasks)) {
    if (stage.name === last) return;
    for (const task of tasksOf(stage)) {
      await runCurationTask({ outputFolder, stage: stage.name, task, patienceMilliseconds: 0 });
    }
  }
}

describe('tasks', () => {
  it('run twice at once, every one, give the bytes of the local run', async () => {
    await submit();
    for (const stage of stagesOf(parseCurationPlan(plan), 2)) {
      const commands = await Promise.all(tasksOf(stage).map((task) => commandOf(stage, task)));
      const ended = await Promise.all([...commands, ...commands].map((command) => runProgram(command)));
      expect(ended.map(({ code, printed }) => `${code}${printed}`)).toEqual(ended.map(() => '0'));
    }
    expect(await hashFolder(outputFolder)).toEqual(expected);
  });

  it('killed at random moments and run again, give the bytes of the local run', async () => {
    await submit({ tasks: 1, workers: 2 });
    const random = seededRandom(Date.now() % 1e9);
    let kills = 0;
    for (const stage of stagesOf(parseCurationPlan(plan), 1)) {
      for (const task of tasksOf(stage)) {
        const command = await commandOf(stage, task);
        let longest = 400;
        let ended = await runProgram(command, { killAfter: random() * longest });
        while (ended.killed) {
          kills++;
          longest *= 2;
          ended = await runProgram(command, { killAfter: random() * longest });
        }
        expect(ended).toMatchObject({ code: 0, printed: '' });
      }
    }
    expect(kills).toBeGreaterThan(2);
    expect(await hashFolder(outputFolder)).toEqual(expected);
  });

  it('run by their batch scripts alone, from elsewhere and in folders with every quote', async () => {
    // Half the stages: nothing is trimmed.
    const short: CurationPlanInput = { ...plan, deduplication: {} };
    const local = join(root, 'local-short');
    await curate(short, { outputFolder: local, workers: 1 });
    await submit({ tasks: 1, sbatchOptions: ['--comment=a "b" c'] }, short);
    const scripts = await stub.takeSubmitted();
    expect(scripts.length).toBeGreaterThan(3);
    for (const { script, array } of scripts) {
      expect(array).toBeUndefined();
      expect(await runProgram(['bash', script], { environment: { SLURM_JOB_ID: '1' } })).toMatchObject({
        code: 0,
        printed: '',
      });
    }
    expect(await hashFolder(outputFolder)).toEqual(await hashFolder(local));
  });

  it('refuse to start before the stage before them, naming what is missing and how to run it', async () => {
    await submit();
    await runCurationTask({ outputFolder, stage: 'extract', task: 0 });
    const { script } = (await stub.takeSubmitted())[0];
    await expect(
      runCurationTask({ outputFolder, stage: 'duplicates', task: 0, patienceMilliseconds: 10 }),
    ).rejects.toMatchObject({
      code: 'CLUSTER_TASKS_MISSING',
      value: [1],
      remedy: expect.stringContaining(`sbatch --array=1 '${script.replaceAll("'", String.raw`'\''`)}'`) as string,
    });
    await expect(runCurationTask({ outputFolder, stage: 'extract', task: 2 })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    });
  });

  it('refuse another run, a changed plan, other software and changed input', async () => {
    const path = inputFile(input, 0);
    await utimes(path, 1e9, 1e9);
    const { runId } = await submit();
    const run = (options = {}) => runCurationTask({ outputFolder, stage: 'extract', task: 0, ...options });
    await expect(run({ runId: '00000000' })).rejects.toMatchObject({ code: 'CLUSTER_RUN_NOT_FOUND' });
    await expect(run({ outputFolder: join(root, 'nowhere') })).rejects.toMatchObject({ code: 'CLUSTER_RUN_NOT_FOUND' });

    const runFile = clusterFolder(outputFolder).run;
    const text = await readFile(runFile, 'utf8');
    await writeFile(runFile, text.replace('"seed": 0', '"seed": 1'));
    await expect(run({ runId })).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
    await writeFile(runFile, text.replace(/"duckdb": "[^"]*"/, '"duckdb": "v0.0.0"'));
    await expect(run({ runId })).rejects.toMatchObject({ code: 'SOFTWARE_CHANGED' });
    await writeFile(runFile, text);

    await utimes(path, 1e9, 1e9 + 5);
    await expect(run({ runId })).rejects.toMatchObject({ code: 'INPUT_CHANGED', value: path });
    await utimes(path, 1e9, 1e9);
    await run({ runId });
  });
});

describe('submitting', () => {
  it('chains one job for each stage, and the second time only what is missing', async () => {
    const first = await submit({ tasks: 3 });
    expect(first.jobs.map(({ stage }) => stage)).toEqual(allStages);
    const scripts = await stub.takeSubmitted();
    expect(scripts.map(({ array }) => array ?? 'single')).toEqual([
      '0-2',
      'single',
      '0-2',
      'single',
      '0-2',
      'single',
      '0-2',
      'single',
      '0-2',
      'single',
    ]);
    // Never before the last single stage has succeeded, nor while an array still runs.
    expect(scripts.map(({ dependency }) => dependency)).toEqual([
      undefined,
      'afterany:1',
      'afterok:2',
      'afterok:2,afterany:3',
      'afterok:4',
      'afterok:4,afterany:5',
      'afterok:6',
      'afterok:6,afterany:7',
      'afterok:8',
      'afterok:8,afterany:9',
    ]);
    await runCurationTask({ outputFolder, stage: 'extract', task: 1 });
    const second = await submit({ tasks: 3 });
    expect(second.runId).toBe(first.runId);
    expect(second.jobs[0].tasks).toEqual([0, 2]);
    expect((await stub.takeSubmitted())[0].array).toBe('0,2');

    await runUpTo('shards', 3);
    expect((await submit({ tasks: 3 })).jobs.map(({ stage }) => stage)).toEqual(['shards', 'finish']);
    // Another number of tasks goes on from the same pieces; what is done already is not done again.
    await submit({ tasks: 1 });
    await runUpTo(undefined, 1);
    expect(await hashFolder(outputFolder)).toEqual(expected);
    expect(await curationStatus(outputFolder)).toMatchObject({ state: 'finished', failed: [] });
    // Tasks that start after the end change nothing, but clear up after a task that was killed between its manifest and its end.
    await mkdir(join(outputFolder, '.work', 'scratch'), { recursive: true });
    for (const stage of ['extract', 'trim-scan', 'shards']) await runCurationTask({ outputFolder, stage, task: 0 });
    expect(await hashFolder(outputFolder)).toEqual(expected);
    await stub.takeSubmitted();
    expect(await submit()).toMatchObject({ jobs: [], finished: { outputFolder } });
    expect(await stub.takeSubmitted()).toEqual([]);
  });

  it('is refused while tasks of the run wait or run, and keeps a local run out of the folder', async () => {
    const { runId } = await submit();
    await stub.setQueue([
      `curate-${runId}-extract|0|1_0|COMPLETED|n1|None`,
      `curate-${runId}-extract|1|1_1|RUNNING|n1|None`,
    ]);
    await expect(submit()).rejects.toMatchObject({ code: 'CLUSTER_RUN_ACTIVE', value: ['1_1'] });
    await expect(curate(plan, { outputFolder })).rejects.toMatchObject({ code: 'CLUSTER_RUN_ACTIVE' });
    await stub.setQueue([`curate-${runId}-extract|1|1_1|FAILED|n1|NonZeroExitCode`]);
    expect((await submit()).runId).toBe(runId);
    await expect(submit({}, { ...plan, seed: 1 })).rejects.toMatchObject({ code: 'OUTPUT_FOLDER_MISMATCH' });
  });

  it('leaves nothing submitted when sbatch refuses a job, and says what sbatch said', async () => {
    await stub.refuseFrom(3);
    await expect(submit()).rejects.toMatchObject({
      code: 'SLURM_FAILED',
      message: expect.stringContaining('no such partition') as string,
    });
    expect((await stub.cancelled()).trim()).toBe('1 2');
    await stub.refuseFrom(undefined);
    expect((await submit()).jobs).toHaveLength(allStages.length);
  });

  it('says what to do where there is no Slurm, and refuses options that cannot work', async () => {
    const path = process.env.PATH;
    process.env.PATH = join(root, 'nothing-here');
    try {
      await expect(submit()).rejects.toMatchObject({
        code: 'SLURM_NOT_FOUND',
        message: expect.stringContaining('login node') as string,
      });
      await expect(stat(outputFolder)).rejects.toMatchObject({ code: 'ENOENT' });
    } finally {
      process.env.PATH = path;
    }
    for (const options of [
      { tasks: 0 },
      { workers: 1.5 },
      { command: [] },
      { sbatchOptions: ['--array=0-9'] },
      { sbatchOptions: ['partition=cpu'] },
      { sbatchOptions: ['--mem=1G\n#SBATCH --uid=0'] },
      { outputFolder: join(root, 'a\\b') },
    ]) {
      await expect(submit(options)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    }
  });
});

describe('status', () => {
  it('tells done, running, waiting, failed and missing tasks apart, and how to restart a failed one', async () => {
    const { runId } = await submit({ tasks: 7 });
    const folder = clusterFolder(outputFolder);
    await runCurationTask({ outputFolder, stage: 'extract', task: 0 });
    // Task 1 fails with a word, task 2 without one, task 3 does not even begin.
    await rename(inputFile(input, 1), `${inputFile(input, 1)}.away`);
    await expect(runCurationTask({ outputFolder, stage: 'extract', task: 1, node: 'n7' })).rejects.toMatchObject({
      code: 'INPUT_NOT_FOUND',
    });
    await rename(`${inputFile(input, 1)}.away`, inputFile(input, 1));
    await cp(folder.attempt('extract', 1), folder.attempt('extract', 2));
    const job = (task: number, state: string, node = '') =>
      `curate-${runId}-extract|${task}|1_${task}|${state}|${node}|None`;
    await stub.setQueue([
      job(3, 'FAILED', 'n9'),
      job(4, 'RUNNING', 'n1'),
      job(5, 'PENDING'),
      job(0, 'COMPLETED', 'n1'),
    ]);

    const status = await curationStatus(outputFolder);
    expect(status.state).toBe('active');
    expect(status.stages[0]).toEqual({
      name: 'extract',
      tasks: 7,
      done: 1,
      failed: 3,
      running: 1,
      waiting: 1,
      missing: 1,
    });
    const [first, second, third] = status.failed;
    expect(first).toMatchObject({ task: 1, node: 'n7', reason: expect.stringContaining('1.jsonl') as string });
    expect(second).toMatchObject({ task: 2, reason: expect.stringContaining('without a word') as string });
    expect(third).toMatchObject({
      task: 3,
      node: 'n9',
      reason: expect.stringContaining('srun --nodelist=n9') as string,
    });
    expect(first.restart).toMatch(/^sbatch --array=1 '/);

    await runCurationTask({ outputFolder, stage: 'extract', task: 1 });
    await stub.setQueue([]);
    const later = await curationStatus(outputFolder);
    expect(later.state).toBe('stopped');
    expect(later.stages[0]).toMatchObject({ done: 2, failed: 1, missing: 4 });
  });

  it('is of runs only', async () => {
    await expect(curationStatus(input)).rejects.toMatchObject({ code: 'CLUSTER_RUN_NOT_FOUND' });
  });
});
