/** `metrics.jsonl` of the run: the rows of all stages' own metrics files, in the order of the stages. Rewritten whole, atomically. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '@xgen-small/model-core';
import type { RunFolder } from './run-folder.js';
import { stageIds } from './stage-context.js';

export async function mergeMetrics(run: RunFolder): Promise<void> {
  const rows: string[] = [];
  for (const id of stageIds) {
    const files = (run.stage(id)?.summary.metricsFiles ?? []) as string[];
    for (const file of files) rows.push(...(await readFile(join(run.path, file), 'utf8')).split('\n').filter(Boolean));
  }
  await writeFileAtomic(join(run.path, 'metrics.jsonl'), rows.map((row) => `${row}\n`).join(''));
}
