import { relative } from 'node:path';
import type { RunFolder } from '../run/run-folder.js';

/** A path as run.json stores it: relative to the run folder, with forward slashes, so that a run can be moved. */
export function relativeTo(run: RunFolder, path: string): string {
  return relative(run.path, path).replaceAll('\\', '/');
}
