/** What a batch script calls on a node: one task of a submitted curation. */

import { runCurationTask } from '../../dist/index.js';

const [outputFolder, runId, stage, task] = process.argv.slice(2);
try {
  await runCurationTask({
    outputFolder,
    runId,
    stage,
    task: Number(task),
    node: process.env.SLURMD_NODENAME,
    patienceMilliseconds: 1000,
  });
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
