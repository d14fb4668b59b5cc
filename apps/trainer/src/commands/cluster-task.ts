/** `xgen cluster task`: one task of a submitted curation, as the batch scripts call it on a node. Prints nothing but errors. */
import { runCurationTask } from '@xgen-small/data-curation';

export async function clusterTaskCommand(
  outputFolder: string,
  runId: string,
  stage: string,
  task: number,
  signal: AbortSignal,
): Promise<void> {
  // Where several node daemons share a host (or a node has an alias), Slurm's name for the node is not the host's.
  const node = process.env.SLURMD_NODENAME;
  await runCurationTask({ outputFolder, runId, stage, task, node: node === '' ? undefined : node, signal });
}
