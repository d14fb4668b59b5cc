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
import { DuckDBInstance } from '@duckdb/node-api';
import type { CurationPlan } from '../plan/schema.js';
import { produceFile, removeLeftovers } from '../util/files.js';
import { sqlList, sqlString } from '../util/sql.js';
import type { StoredTask } from './cluster.js';
import { exists } from './output-folder.js';
import type { TrimCounts, TrimJob } from './trim-tasks.js';
import { trimFiles } from './trim-tasks.js';
import type { ProgressEvent } from './types.js';
import type { WorkFolder } from './work-folder.js';
import type { WorkerPool } from './worker-pool.js';

export interface TrimOptions {
  plan: CurationPlan;
  folder: WorkFolder;
  tasks: readonly StoredTask[];
  pool: WorkerPool;
  workers: number;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

export interface TrimSummary extends TrimCounts {
  /** Files with the new texts; a document without a row keeps its text. */
  texts: string[];
}

/** Undefined when the plan asks for neither. */
export async function trimDocuments(options: TrimOptions): Promise<TrimSummary | undefined> {
  const { lines, substrings } = options.plan.deduplication;
  if (lines === undefined && substrings === undefined) return undefined;
  const folder = options.folder.trim;
  await mkdir(folder, { recursive: true });
  await removeLeftovers(folder);
  const tasks = options.tasks.filter(({ parts }) => parts.length > 0).map(({ task }) => task);
  await runPass(options, 'scan');
  await group(options, trimFiles.commonLines(folder), async () => {
    const files = tasks.map((task) => trimFiles.lines(folder, task));
    return files.length === 0
      ? 'SELECT 0::UINTEGER AS low, 0::UINTEGER AS high WHERE false'
      : `SELECT low, high FROM read_parquet(${sqlList(files)})
         GROUP BY low, high HAVING sum(documents) > ${lines?.maximumDocuments ?? 0} ORDER BY low, high`;
  });
  if (substrings !== undefined) {
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
    await runPass(options, 'locate');
    await group(options, trimFiles.repeats(folder), async (connection) => {
      await tableOf(
        connection,
        'grams',
        'low UINTEGER, high UINTEGER, document INTEGER, word INTEGER',
        tasks.map((task) => trimFiles.grams(folder, task)),
      );
      return `SELECT grams.document, grams.word FROM grams
        JOIN (
          SELECT low, high, min(document::BIGINT * 2147483648 + word) AS first FROM grams GROUP BY low, high HAVING count(*) > 1
        ) AS repeated USING (low, high)
        WHERE document::BIGINT * 2147483648 + word <> repeated.first ORDER BY document, word`;
    });
  }
  await runPass(options, 'apply');
  const summary: TrimSummary = { lines: 0, substrings: 0, emptied: 0, bytesRemoved: 0, texts: [] };
  for (const task of tasks) {
    const counts = JSON.parse(await readFile(trimFiles.done(folder, task, 'apply'), 'utf8')) as TrimCounts;
    for (const key of ['lines', 'substrings', 'emptied', 'bytesRemoved'] as const) summary[key] += counts[key];
    summary.texts.push(trimFiles.texts(folder, task));
  }
  return summary;
}

async function runPass(options: TrimOptions, pass: TrimJob['pass']): Promise<void> {
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
    if (parts.length === 0) continue;
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
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(options.workers),
    memory_limit: '1GB',
    temp_directory: join(options.folder.root, 'trim-spill'),
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
      : `CREATE VIEW ${name} AS SELECT * FROM read_parquet(${sqlList(files)})`,
  );
}
