/** A task of a cluster that is interrupted says so, and the status says by what; run again, it goes on. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { curationStatus } from '../src/cluster/status.js';
import { submitCuration } from '../src/cluster/submit.js';
import { runCurationTask } from '../src/cluster/task.js';
import { writeInput } from './cluster/plan.js';
import { SlurmStub } from './cluster/slurm-stub.js';

it('names the end that Slurm gave an interrupted task', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'interrupted-'));
  const stub = await SlurmStub.install(await mkdtemp(join(tmpdir(), 'stub-')));
  try {
    const plan = await writeInput(folder, 6);
    const outputFolder = join(folder, 'output');
    const { runId } = await submitCuration(plan, { outputFolder, command: ['true'], tasks: 1 });
    const task = { outputFolder, stage: 'extract', task: 0 };
    await expect(runCurationTask({ ...task, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    expect((await curationStatus(outputFolder)).failed[0].reason).toMatch(/interrupted.*\[ABORTED\]$/);
    await stub.setQueue([`curate-${runId}-extract|N/A|1|TIMEOUT|n1|TimeLimit`]);
    expect((await curationStatus(outputFolder)).failed[0].reason).toMatch(/\[ABORTED\] \(Slurm: TIMEOUT, TimeLimit\)$/);
    await runCurationTask(task);
    expect((await curationStatus(outputFolder)).stages[0]).toMatchObject({ done: 1, failed: 0 });
  } finally {
    await stub.remove();
    await rm(folder, { recursive: true, force: true });
  }
});
