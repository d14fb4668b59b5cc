/**
 * Names of the files under `<output>/.work`, which holds finished pieces between a kill and the rerun. Several processes may share
 * them, since they appear whole; what one process alone may use is under `scratch`.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';

export interface WorkFolder {
  root: string;
  inventory: string;
  /** There after bad input stopped the run: the input may be repaired before it goes on. */
  rejected: string;
  /** Files fetched from URLs. */
  downloads: string;
  tasks: string;
  shards: string;
  /** Spill files and the database of duplicates. */
  scratch: string;
  database: string;
  /** One row a cluster. */
  representatives: string;
  clusters: string;
  trim: string;
  decisions: string;
  selection: string;
}

/** `scratch` defaults to the folder itself, which is right for a single process. */
export function workFolder(outputFolder: string, scratch?: string): WorkFolder {
  const root = join(outputFolder, '.work');
  const own = scratch ?? root;
  return {
    root,
    inventory: join(root, 'inventory.json'),
    rejected: join(root, 'rejected.json'),
    downloads: join(root, 'downloads'),
    tasks: join(root, 'tasks'),
    shards: join(root, 'shards'),
    scratch: own,
    database: join(own, 'clusters.duckdb'),
    representatives: join(root, 'representatives.parquet'),
    clusters: join(root, 'clusters.json'),
    trim: join(root, 'trim'),
    decisions: join(root, 'decisions.parquet'),
    selection: join(root, 'selection.json'),
  };
}

/**
 * Once the manifest is there, nothing of it is needed. On network storage a folder cannot go while some process still has a file
 * in it open: then what is left of it goes when the finished output is opened next.
 */
export async function removeWorkFolder({ root }: Pick<WorkFolder, 'root'>): Promise<void> {
  await rm(root, { recursive: true, force: true, maxRetries: 3 }).catch(() => undefined);
}

export function pieceName(index: number): string {
  return String(index).padStart(6, '0');
}
