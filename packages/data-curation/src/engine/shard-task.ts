/**
 * One output shard: the chosen documents of a range of tasks, joined with the decisions about them, in document order. Part by part into
 * pieces on disk, then the pieces one after the other into the shard: a join and sort of the whole would hold it several times.
 * Memory: about five times the text of a part, since a row group is encoded as a whole.
 */

import { mkdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { canonicalJson } from '../util/canonical-json.js';
import { produceFile, sha256OfFile, writeFileWhole } from '../util/files.js';
import { sqlFile, sqlFiles, sqlString } from '../util/sql.js';

export interface ShardJob {
  /** Final path of the Parquet file. */
  path: string;
  heldout: boolean;
  shard: number;
  documents: number;
  textBytes: number;
  /** Files that hold the documents, in order. */
  parts: ShardPart[];
  decisions: string;
  /** Folder for the result file. */
  results: string;
}

export interface ShardPart {
  path: string;
  /** File with texts changed after the part was written. */
  texts?: string;
}

export interface ShardResult {
  documents: number;
  textBytes: number;
  sha256: string;
}

/** Readers like row groups of many rows; a writer holds one. Both depend on the shard's documents only. */
const rowGroupBytes = 8 * 1024 * 1024;
const rowGroupRows = 4096;

export function shardFileName(shard: number): string {
  return `shard-${String(shard).padStart(5, '0')}.parquet`;
}

export function shardResultPath(job: Pick<ShardJob, 'results' | 'heldout' | 'path'>): string {
  return join(job.results, `${job.heldout ? 'heldout' : 'train'}-${basename(job.path)}.json`);
}

/** The result file appears after the shard: a shard without it is written again, to the same bytes. `scratch` is the caller's alone. */
export async function writeShard(job: ShardJob, database: DuckDBInstance, scratch: string): Promise<void> {
  const pieces = join(scratch, 'pieces');
  await mkdir(pieces, { recursive: true });
  const connection = await database.connect();
  try {
    const paths = await writePieces(job, connection, pieces);
    const meanBytes = job.textBytes / Math.max(1, job.documents);
    const rows = Math.max(1, Math.min(rowGroupRows, Math.floor(rowGroupBytes / Math.max(1, meanBytes))));
    await produceFile(job.path, async (temporary) => {
      // One thread and no sort: rows leave in the order in which they are read.
      await connection.run(
        `COPY (FROM read_parquet(${sqlFiles(paths)})) TO ${sqlString(temporary)}
         (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${rows})`,
      );
    });
  } finally {
    connection.closeSync();
    await rm(pieces, { recursive: true, force: true });
  }
  const result: ShardResult = {
    documents: job.documents,
    textBytes: job.textBytes,
    sha256: await sha256OfFile(job.path),
  };
  await writeFileWhole(shardResultPath(job), canonicalJson(result));
}

async function writePieces(job: ShardJob, connection: DuckDBConnection, folder: string): Promise<string[]> {
  await connection.run(`
    CREATE OR REPLACE TEMP TABLE chosen AS SELECT document, task, position, duplicates, weight
    FROM read_parquet(${sqlFile(job.decisions)}) WHERE heldout = ${job.heldout} AND shard = ${job.shard}`);
  const paths: string[] = [];
  for (const { path, texts } of job.parts) {
    const piece = join(folder, `${paths.length}.parquet`);
    const text = texts === undefined ? 'part.text' : 'coalesce(changed.text, part.text) AS text';
    const changed =
      texts === undefined ? '' : `LEFT JOIN read_parquet(${sqlFile(texts)}) AS changed USING (task, position)`;
    await connection.run(`
      COPY (
        SELECT part.id, ${text}, part.source, part.domain, part.language, part.quality, chosen.duplicates, chosen.weight
        FROM read_parquet(${sqlFile(path)}) AS part JOIN chosen USING (task, position) ${changed}
        ORDER BY chosen.document
      ) TO ${sqlString(piece)} (FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE ${rowGroupRows})`);
    paths.push(piece);
  }
  await connection.run('DROP TABLE chosen');
  return paths;
}
