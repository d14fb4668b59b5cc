/** Names of the files under `<output>/.work`, which holds finished pieces between a kill and the rerun. */

import { join } from 'node:path';

export interface WorkFolder {
  root: string;
  inventory: string;
  /** Files fetched from URLs. */
  downloads: string;
  tasks: string;
  shards: string;
  database: string;
  /** One row a cluster. */
  representatives: string;
  clusters: string;
  trim: string;
  decisions: string;
  selection: string;
}

export function workFolder(outputFolder: string): WorkFolder {
  const root = join(outputFolder, '.work');
  return {
    root,
    inventory: join(root, 'inventory.json'),
    downloads: join(root, 'downloads'),
    tasks: join(root, 'tasks'),
    shards: join(root, 'shards'),
    database: join(root, 'clusters.duckdb'),
    representatives: join(root, 'representatives.parquet'),
    clusters: join(root, 'clusters.json'),
    trim: join(root, 'trim'),
    decisions: join(root, 'decisions.parquet'),
    selection: join(root, 'selection.json'),
  };
}

export function pieceName(index: number): string {
  return String(index).padStart(6, '0');
}
