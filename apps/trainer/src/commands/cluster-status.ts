/** `xgen cluster status`: what has become of a submitted curation. Reads only. */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { curationStatus } from '@xgen-small/data-curation';
import { clusterStatusLines, clusterStatusTable } from '../terminal/cluster-status-text.js';
import { quoteForShell } from '../terminal/quote-for-shell.js';

/** Resolves to the exit code: 1 when the work has stopped before its end, else 0. */
export async function clusterStatusCommand(folder: string): Promise<number> {
  // A run folder, or the folder of a curation that was submitted without one.
  const isRun = existsSync(join(folder, 'recipe.json'));
  const status = await curationStatus(isRun ? join(folder, 'curate') : folder);
  const submitAgain = isRun
    ? `xgen cluster submit <recipe> -o ${quoteForShell(relative(process.cwd(), folder) || '.')}`
    : 'submit the curation again';
  const text = process.stdout.isTTY ? clusterStatusTable(status, submitAgain) : clusterStatusLines(status);
  process.stdout.write(`${text}\n`);
  return status.state === 'stopped' ? 1 : 0;
}
