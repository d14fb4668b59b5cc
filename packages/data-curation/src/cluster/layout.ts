/**
 * Names of the files of a run on a cluster, under `<output>/.work/cluster`. They say how the run was submitted and what its tasks
 * last did; whether a task is done is never read here but from the pieces that it publishes. All of them go when the run is finished.
 */

import { join } from 'node:path';
import { workFolder } from '../engine/work-folder.js';
import type { ClusterStageName } from './stages.js';

export interface ClusterFolder {
  root: string;
  /** See `ClusterRun`. */
  run: string;
  /** Holds the run's id alone, for the batch scripts. */
  runId: string;
  /** What later stages need to know of each extracted piece. */
  pieces: string;
  logs: string;
  attempts: string;
  failures: string;
  /** One folder for each process that runs a task. */
  scratch: string;
  script(stage: ClusterStageName): string;
  log(stage: ClusterStageName, task: number): string;
  /** Who ran the task last. */
  attempt(stage: ClusterStageName, task: number): string;
  /** Why the task failed last. */
  failure(stage: ClusterStageName, task: number): string;
}

export function clusterFolder(outputFolder: string): ClusterFolder {
  const root = join(workFolder(outputFolder).root, 'cluster');
  const [logs, attempts, failures] = ['logs', 'attempts', 'failures'].map((name) => join(root, name));
  return {
    root,
    run: join(root, 'run.json'),
    runId: join(root, 'run-id'),
    pieces: join(root, 'pieces.json'),
    logs,
    attempts,
    failures,
    scratch: join(root, 'scratch'),
    script: (stage) => join(root, `${stage}.sbatch`),
    log: (stage, task) => join(logs, `${stage}-${task}.log`),
    attempt: (stage, task) => join(attempts, `${stage}-${task}.json`),
    failure: (stage, task) => join(failures, `${stage}-${task}.json`),
  };
}
