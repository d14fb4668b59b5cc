/**
 * The first step that looks at all documents together: clusters of duplicates and their representatives. DuckDB over the parts'
 * columns (never their text), with a memory limit and spilling.
 *
 * Representative of a cluster: the highest quality score; among equals the longest text; among those the first in document order.
 * Held out: clusters whose representative's hash falls below the fraction; the rest of the cluster is dropped in any case, so no
 * duplicate of a held-out document is trained on.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { buildClusters } from '../dedup/clusters.js';
import { fitWeightCurve } from '../mixture/fit-weight-curve.js';
import type { FittedCurve } from '../mixture/fit-weight-curve.js';
import type { CurationPlan } from '../plan/schema.js';
import type { CountedBytes } from '../report/types.js';
import { canonicalJson } from '../util/canonical-json.js';
import { produceFile, writeFileWhole } from '../util/files.js';
import { sqlFiles, sqlString } from '../util/sql.js';
import type { TaskResult } from './extract-task.js';
import type { WorkFolder } from './work-folder.js';
import { loadDuckDB } from '../util/load-duckdb.js';

export type StoredTask = Pick<TaskResult, 'task' | 'documents' | 'parts'>;

export interface ClusterSummary {
  exactDuplicates: number;
  /** Documents that passed the filters, then one for each text, then one for each cluster. */
  kept: CountedBytes;
  distinct: CountedBytes;
  representatives: CountedBytes;
  /** With `mixture.weightCurve: 'fitted'`. */
  fittedCurve?: FittedCurve;
}

export interface ClusterOptions {
  plan: CurationPlan;
  folder: WorkFolder;
  /** In order of their task number. */
  tasks: readonly StoredTask[];
  bands: number;
  workers: number;
  databaseMebibytes: number;
  onBand: (done: number, total: number) => void;
}

/** Columns of `representatives.parquet`, sorted by document. */
export const representativeColumns =
  'document, task, position, text_bytes, source, domain, language, quality, rank, duplicates, heldout';

export async function clusterDocuments(options: ClusterOptions): Promise<ClusterSummary> {
  const { folder } = options;
  const removeDatabase = async () => {
    await rm(folder.database, { force: true });
    await rm(`${folder.database}.wal`, { force: true });
  };
  await removeDatabase();
  const { DuckDBInstance } = await loadDuckDB();
  const instance = await DuckDBInstance.create(folder.database, {
    threads: String(options.workers),
    memory_limit: `${options.databaseMebibytes}MiB`,
    temp_directory: join(folder.scratch, 'cluster-spill'),
  });
  const connection = await instance.connect();
  try {
    const summary = await cluster(connection, options);
    await produceFile(folder.representatives, async (temporary) => {
      await connection.run(
        `COPY (SELECT ${representativeColumns} FROM representatives ORDER BY document)
         TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd)`,
      );
    });
    await writeFileWhole(folder.clusters, canonicalJson(summary));
    return summary;
  } finally {
    connection.closeSync();
    instance.closeSync();
    await removeDatabase();
  }
}

async function cluster(connection: DuckDBConnection, options: ClusterOptions): Promise<ClusterSummary> {
  const { plan, folder, tasks } = options;
  const parts = tasks.flatMap((task) => task.parts.map((part) => join(folder.tasks, part.file)));
  await loadDocuments(connection, tasks, parts);
  const { exactDuplicates } = await buildClusters(connection, {
    exact: plan.deduplication.exact,
    bands: options.bands,
    parts,
    onBand: options.onBand,
  });
  await connection.run(`
    CREATE TABLE clusters AS
    SELECT document, count(*) OVER (PARTITION BY root) AS size,
      row_number() OVER (PARTITION BY root ORDER BY dropped, quality DESC, text_bytes DESC, document) AS place
    FROM members JOIN documents USING (document)`);
  const heldoutBelow = Math.round(plan.heldout.fraction * 2 ** 32);
  await connection.run(`
    CREATE TABLE representatives AS
    SELECT documents.* EXCLUDE (dropped), coalesce(clusters.size, 1)::INTEGER AS duplicates, rank < ${heldoutBelow} AS heldout
    FROM documents LEFT JOIN clusters USING (document) WHERE NOT dropped AND coalesce(clusters.place, 1) = 1`);
  return {
    exactDuplicates,
    kept: await counted(connection, 'SELECT text_bytes FROM documents WHERE NOT dropped'),
    distinct: await counted(
      connection,
      'SELECT min(text_bytes) AS text_bytes FROM documents WHERE NOT dropped GROUP BY exact_high, exact_low',
    ),
    representatives: await counted(connection, 'SELECT text_bytes FROM representatives'),
    fittedCurve: plan.mixture.weightCurve === 'fitted' ? await fitCurve(connection, plan) : undefined,
  };
}

async function loadDocuments(
  connection: DuckDBConnection,
  tasks: readonly StoredTask[],
  parts: readonly string[],
): Promise<void> {
  await connection.run('CREATE TABLE offsets (task INTEGER, first INTEGER)');
  const appender = await connection.createAppender('offsets');
  let first = 0;
  for (const { task, documents } of tasks) {
    appender.appendInteger(task);
    appender.appendInteger(first);
    appender.endRow();
    first += documents;
  }
  appender.closeSync();
  const columns = 'task, position, text_bytes, source, domain, language, quality, exact_high, exact_low, rank, dropped';
  await connection.run(
    parts.length === 0
      ? `CREATE TABLE documents (document INTEGER, task INTEGER, position INTEGER, text_bytes INTEGER, source VARCHAR,
           domain VARCHAR, language VARCHAR, quality DOUBLE, exact_high UBIGINT, exact_low UBIGINT, rank UINTEGER, dropped BOOLEAN)`
      : `CREATE TABLE documents AS
           SELECT (offsets.first + position)::INTEGER AS document, ${columns}
           FROM read_parquet(${sqlFiles(parts)}) JOIN offsets USING (task)`,
  );
}

/** The share of documents that the filters dropped, by the size of their cluster. */
async function fitCurve(connection: DuckDBConnection, plan: CurationPlan): Promise<FittedCurve> {
  const reader = await connection.runAndReadAll(`
    SELECT coalesce(clusters.size, 1)::DOUBLE AS size, count(*)::DOUBLE, count(*) FILTER (WHERE dropped)::DOUBLE
    FROM documents LEFT JOIN clusters USING (document) GROUP BY 1 ORDER BY 1`);
  const sizes = reader.getRows().map(([size, documents, dropped]) => ({
    size: Number(size),
    documents: Number(documents),
    dropped: Number(dropped),
  }));
  return fitWeightCurve(sizes, { maximumWeight: plan.mixture.maximumRepeats });
}

export async function counted(connection: DuckDBConnection, query: string): Promise<CountedBytes> {
  const reader = await connection.runAndReadAll(
    `SELECT count(*)::DOUBLE, coalesce(sum(text_bytes), 0)::DOUBLE FROM (${query})`,
  );
  const [documents, textBytes] = reader.getRows()[0];
  return { documents: Number(documents), textBytes: Number(textBytes) };
}
