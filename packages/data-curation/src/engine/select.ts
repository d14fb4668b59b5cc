/**
 * The last step that looks at all documents together: weights, and which shard each document goes to. DuckDB over one row for each
 * cluster, with a memory limit and spilling.
 */

import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { NgramIndex } from '../decontamination/ngram-index.js';
import type { MixtureGroup, MixtureSolution } from '../mixture/solver.js';
import { solveMixture } from '../mixture/solver.js';
import type { CurationPlan } from '../plan/schema.js';
import { buildReport } from '../report/build.js';
import type { CurationReport } from '../report/types.js';
import { canonicalJson } from '../util/canonical-json.js';
import { produceFile, writeFileWhole } from '../util/files.js';
import { sqlFile, sqlFiles, sqlString } from '../util/sql.js';
import type { ClusterSummary, StoredTask } from './duplicate-clusters.js';
import type { MixtureFile } from './manifest.js';
import { writeStageMixtures } from './stage-mixtures.js';
import { representativeColumns } from './duplicate-clusters.js';
import type { TaskStats } from './task-stats.js';
import type { TrimSummary } from './trim.js';
import type { WorkFolder } from './work-folder.js';
import { loadDuckDB } from '../util/load-duckdb.js';

export interface SelectedShard {
  heldout: boolean;
  shard: number;
  documents: number;
  textBytes: number;
  firstTask: number;
  lastTask: number;
}

export interface Selection {
  shards: SelectedShard[];
  report: CurationReport;
  /** Files of the training stages, relative to the output folder. */
  mixtures: MixtureFile[];
}

export interface SelectOptions {
  outputFolder: string;
  plan: CurationPlan;
  planHash: string;
  folder: WorkFolder;
  /** In order of their task number. */
  tasks: readonly StoredTask[];
  stats: TaskStats;
  clusters: ClusterSummary;
  trim: TrimSummary | undefined;
  evaluationNgrams: NgramIndex | undefined;
  workers: number;
  databaseMebibytes: number;
}

export async function selectDocuments(options: SelectOptions): Promise<Selection> {
  const { folder } = options;
  const { DuckDBInstance } = await loadDuckDB();
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(options.workers),
    memory_limit: `${options.databaseMebibytes}MiB`,
    temp_directory: join(folder.scratch, 'selection-spill'),
  });
  const connection = await instance.connect();
  try {
    await loadRepresentatives(connection, options);
    const solution = await weigh(connection, options);
    await assignShards(connection, options.plan);
    const shards = await listShards(connection);
    const mixtures = await writeStageMixtures(connection, options);
    const stages = mixtures.map((mixture) => mixture.report);
    const report = await buildReport(connection, { ...options, solution, stages });
    await produceFile(folder.decisions, async (temporary) => {
      await connection.run(
        `COPY (SELECT document, task, position, duplicates, weight, heldout, shard FROM chosen ORDER BY document)
         TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd)`,
      );
    });
    const selection: Selection = {
      shards,
      report,
      mixtures: mixtures.map(({ name, path, sha256 }) => ({ name, path, sha256 })),
    };
    await writeFileWhole(folder.selection, canonicalJson(selection));
    return selection;
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** A table `representatives`, with the sizes that trimming left and without the documents that it emptied. */
async function loadRepresentatives(connection: DuckDBConnection, { folder, trim }: SelectOptions): Promise<void> {
  const source = `read_parquet(${sqlFile(folder.representatives)})`;
  if (trim === undefined || trim.texts.length === 0) {
    await connection.run(`CREATE TABLE representatives AS SELECT ${representativeColumns} FROM ${source}`);
    return;
  }
  await connection.run(`
    CREATE TABLE representatives AS
    SELECT chosen.* REPLACE (coalesce(trimmed.text_bytes, chosen.text_bytes) AS text_bytes)
    FROM ${source} AS chosen
    LEFT JOIN (SELECT task, position, text_bytes FROM read_parquet(${sqlFiles(trim.texts)})) AS trimmed USING (task, position)
    WHERE coalesce(trimmed.text_bytes, 1) > 0`);
}

/** A table `weights(domain, duplicates, weight)` for the groups that the mixture uses. */
async function weigh(connection: DuckDBConnection, { plan, clusters }: SelectOptions): Promise<MixtureSolution> {
  const reader = await connection.runAndReadAll(`
    SELECT domain, duplicates, count(*)::DOUBLE, sum(text_bytes)::DOUBLE FROM representatives
    WHERE NOT heldout GROUP BY domain, duplicates ORDER BY domain, duplicates`);
  const groups: MixtureGroup[] = reader.getRows().map(([domain, duplicates, documents, textBytes]) => ({
    domain: String(domain),
    duplicates: Number(duplicates),
    documents: Number(documents),
    textBytes: Number(textBytes),
  }));
  const { weightCurve } = plan.mixture;
  const solution = solveMixture(groups, {
    ...plan.mixture,
    weightCurve: weightCurve === 'fitted' ? (clusters.fittedCurve?.steps ?? 'none') : weightCurve,
  });
  await connection.run('CREATE TABLE weights (domain VARCHAR, duplicates INTEGER, weight DOUBLE)');
  const appender = await connection.createAppender('weights');
  for (const { domain, duplicates } of groups) {
    const weight = solution.weightOf(domain, duplicates);
    if (weight <= 0) continue;
    appender.appendVarchar(domain);
    appender.appendInteger(duplicates);
    appender.appendDouble(weight);
    appender.endRow();
  }
  appender.closeSync();
  return solution;
}

/** Cuts the documents, in order, into shards of similar size; held-out documents apart, with weight 1. */
async function assignShards(connection: DuckDBConnection, plan: CurationPlan): Promise<void> {
  const targets = plan.mixture.targets;
  const wanted =
    targets === undefined
      ? 'true'
      : `domain IN (${Object.entries(targets)
          .filter(([, share]) => share > 0)
          .map(([domain]) => sqlString(domain))
          .join(', ')})`;
  await connection.run(`
    CREATE TABLE chosen AS
    WITH weighted AS (
      SELECT representatives.*, CASE WHEN heldout THEN 1 ELSE weights.weight END AS weight
      FROM representatives LEFT JOIN weights USING (domain, duplicates)
      WHERE ${wanted} AND (heldout OR weights.weight IS NOT NULL)
    ),
    running AS (
      SELECT *, sum(text_bytes) OVER (PARTITION BY heldout ORDER BY document ROWS UNBOUNDED PRECEDING) - text_bytes AS before
      FROM weighted
    )
    SELECT * EXCLUDE (before),
      (dense_rank() OVER (PARTITION BY heldout ORDER BY before // ${plan.output.shardBytes}) - 1)::INTEGER AS shard
    FROM running`);
}

async function listShards(connection: DuckDBConnection): Promise<SelectedShard[]> {
  const reader = await connection.runAndReadAll(`
    SELECT heldout, shard, count(*)::DOUBLE, sum(text_bytes)::DOUBLE, min(task), max(task)
    FROM chosen GROUP BY heldout, shard ORDER BY heldout, shard`);
  return reader.getRows().map(([heldout, shard, documents, textBytes, firstTask, lastTask]) => ({
    heldout: heldout === true,
    shard: Number(shard),
    documents: Number(documents),
    textBytes: Number(textBytes),
    firstTask: Number(firstTask),
    lastTask: Number(lastTask),
  }));
}
