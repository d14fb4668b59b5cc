/**
 * Removes lines that many documents share and word runs that occurred before, over one document for each cluster: passes over the tasks in
 * the workers, and between them one grouping each in DuckDB, with a memory limit and spilling.
 *
 * Substrings, exactly and without a suffix array: any run of `words` words that occurs twice shares a winnowed fingerprint, so only
 * documents with a shared fingerprint can hold one; of those, every n-gram of `words` words is compared, and all but the first
 * occurrence in document order are removed.
 */

import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { CurationPlan } from '../plan/schema.js';
import { produceFile, removeLeftovers } from '../util/files.js';
import { sqlFiles, sqlString } from '../util/sql.js';
import type { StoredTask } from './duplicate-clusters.js';
import { exists } from './output-folder.js';
import type { TrimCounts, TrimJob } from './trim-tasks.js';
import { trimFiles } from './trim-tasks.js';
import type { ProgressEvent } from './types.js';
import type { WorkFolder } from './work-folder.js';
import type { WorkerPool } from './worker-pool.js';
import { loadDuckDB } from '../util/load-duckdb.js';

export interface TrimOptions {
  plan: CurationPlan;
  folder: WorkFolder;
  tasks: readonly StoredTask[];
  pool: WorkerPool;
  workers: number;
  databaseMebibytes: number;
  /** Which tasks the passes work on; default: all. */
  includes?: (task: number) => boolean;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

export interface TrimSummary extends TrimCounts {
  /** Files with the new texts; a document without a row keeps its text. */
  texts: string[];
}

/** Undefined when the plan asks for neither. */
export async function trimDocuments(options: TrimOptions): Promise<TrimSummary | undefined> {
  if (!wantsTrim(options.plan)) return undefined;
  await mkdir(options.folder.trim, { recursive: true });
  await removeLeftovers(options.folder.trim);
  await runTrimPass(options, 'scan');
  await groupScanned(options);
  if (options.plan.deduplication.substrings !== undefined) {
    await runTrimPass(options, 'locate');
    await groupLocated(options);
  }
  await runTrimPass(options, 'apply');
  return summarizeTrim(options);
}

export function wantsTrim({ deduplication: { lines, substrings } }: CurationPlan): boolean {
  return lines !== undefined || substrings !== undefined;
}

/** After `scan` of all tasks: the lines that are too common, and the documents that may hold a repeated substring. */
export async function groupScanned(options: TrimOptions): Promise<void> {
  const { lines, substrings } = options.plan.deduplication;
  const folder = options.folder.trim;
  const tasks = tasksWithDocuments(options);
  await group(options, trimFiles.commonLines(folder), async () => {
    const files = tasks.map((task) => trimFiles.lines(folder, task));
    return files.length === 0
      ? 'SELECT 0::UINTEGER AS low, 0::UINTEGER AS high WHERE false'
      : `SELECT low, high FROM read_parquet(${sqlFiles(files)})
         GROUP BY low, high HAVING sum(documents) > ${lines?.maximumDocuments ?? 0} ORDER BY low, high`;
  });
  if (substrings === undefined) return;
  await group(options, trimFiles.candidates(folder), async (connection) => {
    await tableOf(
      connection,
      'prints',
      'low UINTEGER, high UINTEGER, document INTEGER',
      tasks.map((task) => trimFiles.prints(folder, task)),
    );
    return `SELECT DISTINCT document FROM prints
      SEMI JOIN (SELECT low, high FROM prints GROUP BY low, high HAVING count(*) > 1) USING (low, high) ORDER BY document`;
  });
}

/** After `locate` of all tasks: every occurrence of a repeated substring but the first. */
export async function groupLocated(options: TrimOptions): Promise<void> {
  const folder = options.folder.trim;
  await group(options, trimFiles.repeats(folder), async (connection) => {
    await tableOf(
      connection,
      'grams',
      'low UINTEGER, high UINTEGER, document INTEGER, word INTEGER',
      tasksWithDocuments(options).map((task) => trimFiles.grams(folder, task)),
    );
    return `SELECT grams.document, grams.word FROM grams
      JOIN (
        SELECT low, high, min(document::BIGINT * 2147483648 + word) AS first FROM grams GROUP BY low, high HAVING count(*) > 1
      ) AS repeated USING (low, high)
      WHERE document::BIGINT * 2147483648 + word <> repeated.first ORDER BY document, word`;
  });
}

/** After `apply` of all tasks. */
export async function summarizeTrim(options: Pick<TrimOptions, 'folder' | 'tasks'>): Promise<TrimSummary> {
  const folder = options.folder.trim;
  const summary: TrimSummary = { lines: 0, substrings: 0, emptied: 0, bytesRemoved: 0, texts: [] };
  for (const task of tasksWithDocuments(options)) {
    const counts = JSON.parse(await readFile(trimFiles.done(folder, task, 'apply'), 'utf8')) as TrimCounts;
    for (const key of ['lines', 'substrings', 'emptied', 'bytesRemoved'] as const) summary[key] += counts[key];
    summary.texts.push(trimFiles.texts(folder, task));
  }
  return summary;
}

function tasksWithDocuments({ tasks }: Pick<TrimOptions, 'tasks'>): number[] {
  return tasks.filter(({ parts }) => parts.length > 0).map(({ task }) => task);
}

/** One pass over the tasks that are not finished. */
export async function runTrimPass(options: TrimOptions, pass: TrimJob['pass']): Promise<void> {
  const { folder } = options;
  const jobs: TrimJob[] = [];
  let first = 0;
  let completed = 0;
  for (const { task, documents, parts } of options.tasks) {
    const job: TrimJob = {
      pass,
      task,
      first,
      last: first + documents,
      parts: parts.map(({ file }) => join(folder.tasks, file)),
      representatives: folder.representatives,
      folder: folder.trim,
    };
    first += documents;
    if (parts.length === 0 || options.includes?.(task) === false) continue;
    if (await exists(trimFiles.done(folder.trim, task, pass))) completed++;
    else jobs.push(job);
  }
  const total = completed + jobs.length;
  await options.pool.run(jobs, {
    signal: options.signal,
    toMessage: (trim) => ({ kind: 'trim', trim }),
    onDone: () => {
      options.onProgress?.({ task: 'repeated text', completed: ++completed, total, unit: 'tasks', detail: pass });
    },
  });
}

/** Writes the rows of a query to a Parquet file, unless it is there. */
async function group(
  options: TrimOptions,
  path: string,
  prepare: (connection: DuckDBConnection) => Promise<string>,
): Promise<void> {
  if (await exists(path)) return;
  // The memory of the workers is this thread's now.
  await options.pool.close();
  const { DuckDBInstance } = await loadDuckDB();
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(options.workers),
    memory_limit: `${options.databaseMebibytes}MiB`,
    temp_directory: join(options.folder.scratch, 'trim-spill'),
  });
  const connection = await instance.connect();
  try {
    const query = await prepare(connection);
    await produceFile(path, async (temporary) => {
      await connection.run(`COPY (${query}) TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd)`);
    });
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

async function tableOf(
  connection: DuckDBConnection,
  name: string,
  columns: string,
  files: readonly string[],
): Promise<void> {
  await connection.run(
    files.length === 0
      ? `CREATE TABLE ${name} (${columns})`
      : `CREATE VIEW ${name} AS SELECT * FROM read_parquet(${sqlFiles(files)})`,
  );
}
