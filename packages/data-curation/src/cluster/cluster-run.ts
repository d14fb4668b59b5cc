/**
 * `run.json`: what was submitted. Every task reads it and refuses to work on anything else, so that all tasks of a run share one
 * plan, one inventory and one version of the software that shapes the bytes.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { softwareVersions } from '../engine/manifest.js';
import { exists } from '../engine/output-folder.js';
import { CurationError } from '../errors.js';
import type { CurationPlan } from '../plan/schema.js';
import { hashPlan, parseCurationPlan } from '../plan/schema.js';
import { canonicalJson } from '../util/canonical-json.js';
import { clusterFolder } from './layout.js';

const runSchema = z.strictObject({
  formatVersion: z.literal(1),
  /** Random; names the jobs, and tells this run from another in the same place. */
  runId: z.string().regex(/^[0-9a-f]{8}$/),
  planHash: z.string(),
  plan: z.unknown(),
  software: z.strictObject({ package: z.string(), version: z.string(), duckdb: z.string() }),
  /** Tasks of an array. */
  tasks: z.int().min(1),
  /** Worker threads of a task. */
  workers: z.int().min(1),
  /** Bytes a task may take. */
  memoryLimit: z.int().min(1).optional(),
});

export type ClusterRunFile = z.output<typeof runSchema>;
export type ClusterRun = ClusterRunFile & { plan: CurationPlan };

/** The run submitted for this output folder, or undefined. @throws CurationError `OUTPUT_CORRUPT`. */
export async function findClusterRun(outputFolder: string): Promise<ClusterRun | undefined> {
  const path = clusterFolder(outputFolder).run;
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const run = runSchema.parse(JSON.parse(text));
    return { ...run, plan: parseCurationPlan(run.plan) };
  } catch (error) {
    throw new CurationError('OUTPUT_CORRUPT', `${path} does not describe a run on a cluster.`, {
      value: path,
      remedy: 'Submit the curation again with the version that wrote the file, or delete the output folder.',
      cause: error,
    });
  }
}

/**
 * The run, checked against the folder and against this copy of the software.
 * @throws CurationError `CLUSTER_RUN_NOT_FOUND`, `PLAN_CHANGED`, `SOFTWARE_CHANGED`, `OUTPUT_CORRUPT`.
 */
export async function loadClusterRun(outputFolder: string, runId?: string): Promise<ClusterRun> {
  const run = await findClusterRun(outputFolder);
  if (run === undefined) {
    throw new CurationError(
      'CLUSTER_RUN_NOT_FOUND',
      `${outputFolder} holds no curation that was submitted to a cluster, as this machine sees it.`,
      {
        value: outputFolder,
        remedy: 'Put the output folder on storage that every node shares, or submit the curation first.',
      },
    );
  }
  if (runId !== undefined && run.runId !== runId) {
    throw new CurationError(
      'CLUSTER_RUN_NOT_FOUND',
      `The task belongs to run ${runId}; ${outputFolder} holds run ${run.runId}.`,
      {
        value: runId,
        remedy: 'Cancel the jobs of the older run.',
      },
    );
  }
  await refuseChangedPlan(outputFolder, run);
  const software = await softwareVersions();
  if (canonicalJson(run.software) !== canonicalJson(software)) {
    throw new CurationError(
      'SOFTWARE_CHANGED',
      `The run was submitted with ${describe(run.software)}; here is ${describe(software)}.`,
      {
        value: software,
        remedy: 'Give every node the version of the submission, or curate into a new folder.',
      },
    );
  }
  return run;
}

/** A local run in the folder of a submitted one would take away what its tasks are writing. */
export async function refuseSubmitted(outputFolder: string): Promise<void> {
  const { root, run } = clusterFolder(outputFolder);
  if (!(await exists(run))) return;
  throw new CurationError('CLUSTER_RUN_ACTIVE', `${outputFolder} was submitted to a cluster and is not finished.`, {
    value: outputFolder,
    remedy: `Submit it again to continue there; or cancel its jobs and delete ${root} to continue here.`,
  });
}

async function refuseChangedPlan(outputFolder: string, run: ClusterRun): Promise<void> {
  const path = join(outputFolder, 'plan.json');
  const text = await readFile(path, 'utf8').catch(() => '{}');
  let claimed: unknown;
  try {
    claimed = (JSON.parse(text) as { planHash?: unknown }).planHash;
  } catch {
    claimed = undefined;
  }
  if (claimed === run.planHash && hashPlan(run.plan) === run.planHash) return;
  throw new CurationError('PLAN_CHANGED', `The plan in ${outputFolder} is not the one that was submitted.`, {
    value: outputFolder,
    remedy: 'Cancel the jobs, and submit the new plan into a new folder.',
  });
}

function describe({ package: name, version, duckdb }: ClusterRun['software']): string {
  return `${name} ${version} with DuckDB ${duckdb}`;
}
