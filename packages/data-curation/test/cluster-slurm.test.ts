/**
 * A curation on a real Slurm cluster: two nodes, a task that fails for want of its input, a task killed, a node killed with all it
 * runs; what is missing is run again, and every byte is that of the local run.
 */

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { clusterFolder } from '../src/cluster/layout.js';
import type { AttemptNote } from '../src/cluster/notes.js';
import { readNote } from '../src/cluster/notes.js';
import { loadClusterRun } from '../src/cluster/cluster-run.js';
import { openTasks } from '../src/cluster/progress.js';
import { curationStatus } from '../src/cluster/status.js';
import type { CurationStatus } from '../src/cluster/status.js';
import { submitCuration } from '../src/cluster/submit.js';
import { curate } from '../src/engine/curate.js';
import { exists } from '../src/engine/output-folder.js';
import { verifyCuration } from '../src/engine/verify.js';
import { workFolder } from '../src/engine/work-folder.js';
import { inputFile, inputFiles, writeInput } from './cluster/plan.js';
import { missingPrograms, nodeNames, SlurmCluster } from './cluster/slurm-cluster.js';
import { hashFolder } from './folder-hash.js';

const tasks = 4;
const missing = missingPrograms();
if (missing.length > 0) console.warn(`skipped: no Slurm here (${missing.join(', ')} missing); .ci/run installs it`);

it.skipIf(missing.length > 0)(
  'ends with the bytes of the local run after a failed task, a killed task and a killed node',
  async () => {
    // Nothing in a path may trouble a batch script.
    const root = await mkdtemp(join(tmpdir(), `slurm %a "of" it's `));
    const slurmRoot = await mkdtemp(join(tmpdir(), 'slurm-'));
    const before = process.env.SLURM_CONF;
    let cluster: SlurmCluster | undefined;
    try {
      const input = join(root, 'input');
      const outputFolder = join(root, 'output');
      await mkdir(input);
      const plan = await writeInput(input);
      const options = {
        outputFolder,
        command: [process.execPath, fileURLToPath(new URL('./cluster/task.mjs', import.meta.url))],
        tasks,
        sbatchOptions: ['--comment=of a "test"'],
      };
      cluster = await SlurmCluster.start(slurmRoot);
      process.env.SLURM_CONF = cluster.environment.SLURM_CONF;
      await curate(plan, { outputFolder: join(root, 'local'), workers: 2 });
      for (const node of nodeNames)
        await until(`${node} to be idle`, async () => (await cluster!.nodeState(node)) === 'idle', slurmPause);

      const submission = await submitCuration(plan, options);
      expect(submission.jobs.map(({ stage }) => stage)).toEqual([
        ...['extract', 'duplicates', 'trim-scan', 'trim-group', 'trim-locate', 'trim-repeats', 'trim-apply'],
        ...['select', 'shards', 'finish'],
      ]);
      // A node has one processor, so that this file's task cannot be among the first two, which begin in a second at the earliest.
      const lost = inputFiles - 1;
      await rename(inputFile(input, lost), `${inputFile(input, lost)}.away`);
      await until('a task to be killed half-way', () => killTask(outputFolder));
      await until('a node to be killed half-way', async () => {
        const victim = await runningOn(outputFolder, 'n2');
        if (victim === undefined) return false;
        await cluster!.killNode('n2');
        if (await isOpen(outputFolder, victim.task)) return true;
        cluster!.startNode('n2');
        return false;
      });

      const stopped = await until('the run to stop', () => statusWhen(outputFolder, 'stopped'), slurmPause);
      const failed = stopped.failed.find(({ stage }) => stage === 'extract');
      expect(failed).toMatchObject({
        task: lost % tasks,
        reason: expect.stringContaining(inputFile(input, lost)) as string,
      });
      expect(stopped.stages[0]).toMatchObject({ name: 'extract', done: tasks - 1, failed: 1 });
      expect(stopped.stages.at(-1)).toMatchObject({ name: 'finish', missing: 1 });

      await rename(`${inputFile(input, lost)}.away`, inputFile(input, lost));
      cluster.startNode('n2');
      expect(await shell(failed!.restart)).toBe(0);
      await until(
        'the failed task',
        async () => (await curationStatus(outputFolder)).stages[0].done === tasks,
        slurmPause,
      );
      await until('the end of its job', () => statusWhen(outputFolder, 'stopped'), slurmPause);

      // Slurm may tell of a job's end, then of its place in the queue: what is refused while one is active is asked again.
      const again = await until(
        'a second submission',
        () =>
          submitCuration(plan, options).catch((error: unknown) => {
            if ((error as { code?: unknown }).code === 'CLUSTER_RUN_ACTIVE') return undefined;
            throw error;
          }),
        slurmPause,
      );
      expect(again.jobs[0].stage).toBe('duplicates');
      await until('the run to finish', () => statusWhen(outputFolder, 'finished'), slurmPause);
      // The manifest ends the run; its task then clears up.
      await until('the work folder to go', async () => !(await exists(workFolder(outputFolder).root)));
      expect(await hashFolder(outputFolder)).toEqual(await hashFolder(join(root, 'local')));
      await verifyCuration(outputFolder);
      expect((await submitCuration(plan, options)).finished?.shards.length).toBeGreaterThan(1);
    } catch (error) {
      console.error(await cluster?.logs());
      throw error;
    } finally {
      await cluster?.stop();
      if (before === undefined) delete process.env.SLURM_CONF;
      else process.env.SLURM_CONF = before;
      await rm(root, { recursive: true, force: true });
      await rm(slurmRoot, { recursive: true, force: true });
    }
  },
  300_000,
);

/** Asking Slurm starts programs of its own, which take the processors from the tasks: not as often as reading files. */
const slurmPause = 300;

/** Asks again and again until there is something. */
async function until<T>(what: string, ask: () => Promise<T | undefined | false>, pause = 50): Promise<T> {
  const patience = performance.now() + 120_000;
  let last: unknown;
  while (performance.now() < patience) {
    last = await ask();
    if (last !== undefined && last !== false) return last as T;
    await sleep(pause);
  }
  throw new Error(`Waited in vain for ${what}.`);
}

async function statusWhen(outputFolder: string, state: CurationStatus['state']): Promise<CurationStatus | undefined> {
  const status = await curationStatus(outputFolder);
  return status.state === state ? status : undefined;
}

/** kill -9 of the process of an extraction; true when it was not done. */
async function killTask(outputFolder: string): Promise<boolean> {
  const victim = await runningOn(outputFolder);
  if (victim === undefined) return false;
  process.kill(victim.pid, 'SIGKILL');
  return isOpen(outputFolder, victim.task);
}

/** An extraction that has begun, on this node or any, and not ended. */
async function runningOn(outputFolder: string, node?: string): Promise<{ task: number; pid: number } | undefined> {
  const folder = clusterFolder(outputFolder);
  for (let task = 0; task < tasks; task++) {
    const attempt = await readNote<AttemptNote>(folder.attempt('extract', task));
    if (attempt === undefined || (node !== undefined && attempt.node !== node) || !isAlive(attempt.pid)) continue;
    if (await isOpen(outputFolder, task)) return { task, pid: attempt.pid };
  }
  return undefined;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function isOpen(outputFolder: string, task: number): Promise<boolean> {
  const run = await loadClusterRun(outputFolder);
  return (await openTasks(run, outputFolder, { name: 'extract', tasks })).includes(task);
}

async function shell(command: string): Promise<number | null> {
  const child = spawn('bash', ['-c', command], { stdio: 'ignore' });
  return new Promise((resolve, reject) => child.on('exit', resolve).on('error', reject));
}
