/** Collects what the report shows from a run folder; a run that has not finished gives what there is. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CurationReport } from '@xgen-small/data-curation';
import type { Recipe } from '../recipe/recipe-schema.js';
import { RunFolder, type RunState } from '../run/run-folder.js';
import type { EvaluationSummary } from './claims.js';

export interface MetricsRow {
  stage: string;
  step: number;
  [metric: string]: unknown;
}

export interface ReportData {
  path: string;
  recipe: Recipe;
  state: RunState;
  curation?: CurationReport;
  /** Rows by stage name, in the order of the run. */
  metrics: Map<string, MetricsRow[]>;
  evaluation?: EvaluationSummary;
}

export async function readReportData(folder: string): Promise<ReportData> {
  const { path, recipe, state } = await RunFolder.read(folder);
  const metrics = new Map<string, MetricsRow[]>();
  const metricsFile = join(path, 'metrics.jsonl');
  if (existsSync(metricsFile)) {
    for (const line of (await readFile(metricsFile, 'utf8')).split('\n')) {
      if (line === '') continue;
      const row = JSON.parse(line) as MetricsRow;
      const rows = metrics.get(row.stage);
      if (rows) rows.push(row);
      else metrics.set(row.stage, [row]);
    }
  }
  const curationFile = (state.stages.curate?.summary as { report?: string } | undefined)?.report;
  return {
    path,
    recipe,
    state,
    metrics,
    ...(curationFile
      ? { curation: JSON.parse(await readFile(join(path, curationFile), 'utf8')) as CurationReport }
      : {}),
    ...(state.stages.eval ? { evaluation: state.stages.eval.summary as unknown as EvaluationSummary } : {}),
  };
}
