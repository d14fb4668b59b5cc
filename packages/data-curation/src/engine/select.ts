/**
 * The one step that looks at all documents together: clusters of duplicates, their representatives, what is held out, weights,
 * and which shard each document goes to. DuckDB over the parts' columns (never their text), with a memory limit and spilling.
 *
 * Representative of a cluster: the highest quality score; among equals the longest text; among those the first in document order.
 * Held out: clusters whose representative's hash falls below the fraction; the rest of the cluster is dropped in any case, so no
 * duplicate of a held-out document is trained on.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { DuckDBInstance } from '@duckdb/node-api';
import type { NgramIndex } from '../decontamination/ngram-index.js';
import { buildClusters } from '../dedup/clusters.js';
import type { MixtureGroup, MixtureSolution } from '../mixture/solver.js';
import { solveMixture } from '../mixture/solver.js';
import type { CurationPlan } from '../plan/schema.js';
import { buildReport } from '../report/build.js';
import type { CurationReport } from '../report/types.js';
import { canonicalJson } from '../util/canonical-json.js';
import { produceFile, writeFileWhole } from '../util/files.js';
import { sqlList, sqlString } from '../util/sql.js';
import type { TaskResult } from './extract-task.js';
import type { TaskStats } from './task-stats.js';
import type { WorkFolder } from './work-folder.js';

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
}

export interface SelectOptions {
  plan: CurationPlan;
  planHash: string;
  folder: WorkFolder;
  /** In order of their task number. */
  tasks: readonly Pick<TaskResult, 'task' | 'documents' | 'parts'>[];
  stats: TaskStats;
  evaluationNgrams: NgramIndex | undefined;
  bands: number;
  workers: number;
  onBand: (done: number, total: number) => void;
}

export async function selectDocuments(options: SelectOptions): Promise<Selection> {
  const { folder } = options;
  await rm(folder.database, { force: true });
  await rm(`${folder.database}.wal`, { force: true });
  const instance = await DuckDBInstance.create(folder.database, {
    threads: String(options.workers),
    memory_limit: '1GB',
    temp_directory: join(folder.root, 'selection-spill'),
  });
  const connection = await instance.connect();
  try {
    const selection = await select(connection, options);
    await produceFile(folder.decisions, async (temporary) => {
      await connection.run(
        `COPY (SELECT document, task, position, duplicates, weight, heldout, shard FROM chosen ORDER BY document)
         TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd)`,
      );
    });
    await writeFileWhole(folder.selection, canonicalJson({ planHash: options.planHash, ...selection }));
    return selection;
  } finally {
    connection.closeSync();
    instance.closeSync();
    await rm(folder.database, { force: true });
    await rm(`${folder.database}.wal`, { force: true });
  }
}

async function select(connection: DuckDBConnection, options: SelectOptions): Promise<Selection> {
  const { plan, folder, tasks } = options;
  const parts = tasks.flatMap((task) => task.parts.map((part) => join(folder.tasks, part.file)));
  const total = tasks.reduce((sum, task) => sum + task.documents, 0);
  await loadDocuments(connection, tasks, parts);
  const { exactDuplicates } =
    total === 0
      ? { exactDuplicates: 0 }
      : await buildClusters(connection, {
          documents: total,
          exact: plan.deduplication.exact,
          bands: options.bands,
          parts,
          onBand: options.onBand,
        });
  if (total === 0) await connection.run('CREATE OR REPLACE TABLE members (document INTEGER, root INTEGER)');
  await connection.run(`
    CREATE OR REPLACE TABLE clusters AS
    SELECT document, count(*) OVER (PARTITION BY root) AS size,
      row_number() OVER (PARTITION BY root ORDER BY quality DESC, text_bytes DESC, document) AS place
    FROM members JOIN documents USING (document)`);
  const heldoutBelow = Math.round(plan.heldout.fraction * 2 ** 32);
  await connection.run(`
    CREATE OR REPLACE TABLE representatives AS
    SELECT documents.*, coalesce(clusters.size, 1)::INTEGER AS duplicates, rank < ${heldoutBelow} AS heldout
    FROM documents LEFT JOIN clusters USING (document) WHERE coalesce(clusters.place, 1) = 1`);
  const solution = await weigh(connection, plan);
  await assignShards(connection, plan);
  return {
    shards: await listShards(connection),
    report: await buildReport(connection, { ...options, parts, exactDuplicates, solution }),
  };
}

async function loadDocuments(
  connection: DuckDBConnection,
  tasks: SelectOptions['tasks'],
  parts: readonly string[],
): Promise<void> {
  await connection.run('CREATE OR REPLACE TABLE offsets (task INTEGER, first INTEGER)');
  const appender = await connection.createAppender('offsets');
  let first = 0;
  for (const { task, documents } of tasks) {
    appender.appendInteger(task);
    appender.appendInteger(first);
    appender.endRow();
    first += documents;
  }
  appender.closeSync();
  const columns = 'task, position, text_bytes, source, domain, language, quality, exact_high, exact_low, rank';
  await connection.run(
    parts.length === 0
      ? `CREATE OR REPLACE TABLE documents (document INTEGER, task INTEGER, position INTEGER, text_bytes INTEGER, source VARCHAR,
           domain VARCHAR, language VARCHAR, quality DOUBLE, exact_high UBIGINT, exact_low UBIGINT, rank UINTEGER)`
      : `CREATE OR REPLACE TABLE documents AS
           SELECT (offsets.first + position)::INTEGER AS document, ${columns}
           FROM read_parquet(${sqlList(parts)}) JOIN offsets USING (task)`,
  );
}

/** A table `weights(domain, duplicates, weight)` for the groups that the mixture uses. */
async function weigh(connection: DuckDBConnection, plan: CurationPlan): Promise<MixtureSolution> {
  const reader = await connection.runAndReadAll(`
    SELECT domain, duplicates, count(*)::DOUBLE, sum(text_bytes)::DOUBLE FROM representatives
    WHERE NOT heldout GROUP BY domain, duplicates ORDER BY domain, duplicates`);
  const groups: MixtureGroup[] = reader.getRows().map(([domain, duplicates, documents, textBytes]) => ({
    domain: String(domain),
    duplicates: Number(duplicates),
    documents: Number(documents),
    textBytes: Number(textBytes),
  }));
  const solution = solveMixture(groups, plan.mixture);
  await connection.run('CREATE OR REPLACE TABLE weights (domain VARCHAR, duplicates INTEGER, weight DOUBLE)');
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
    CREATE OR REPLACE TABLE chosen AS
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
