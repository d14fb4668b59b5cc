/** Writes report.html and gives the table that the terminal prints. */
import { join } from 'node:path';
import { writeFileAtomic } from '@xgen-small/model-core';
import { claimsOf } from './claims.js';
import { figuresOf } from './figures.js';
import { reportPage } from './page.js';
import { readReportData } from './report-data.js';

export async function writeReport(folder: string): Promise<{ path: string; table: string }> {
  const data = await readReportData(folder);
  const figures = figuresOf(data);
  const path = join(data.path, 'report.html');
  await writeFileAtomic(path, reportPage(data, figures));
  const claims = data.evaluation
    ? claimsOf(data.evaluation).map(({ title, holds, detail }) => `${holds ? '✓' : '✗'} ${title}\n    ${detail}`)
    : [];
  const width = Math.max(...figures.flatMap(({ rows }) => rows.map(([name]) => name.length)));
  const table = figures
    .map(({ title, rows }) => [title, ...rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)].join('\n'))
    .join('\n');
  return { path, table: [table, ...claims].join('\n') };
}
