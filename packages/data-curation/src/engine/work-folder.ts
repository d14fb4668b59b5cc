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
    database: join(root, 'selection.duckdb'),
    decisions: join(root, 'decisions.parquet'),
    selection: join(root, 'selection.json'),
  };
}

export function pieceName(index: number): string {
  return String(index).padStart(6, '0');
}
