/** One output shard: the chosen documents of a range of tasks, joined with the decisions about them, in document order. */

import { basename, join } from 'node:path';
import type { DuckDBInstance } from '@duckdb/node-api';
import { canonicalJson } from '../util/canonical-json.js';
import { produceFile, sha256OfFile, writeFileWhole } from '../util/files.js';
import { sqlList, sqlString } from '../util/sql.js';

export interface ShardJob {
  /** Final path of the Parquet file. */
  path: string;
  heldout: boolean;
  shard: number;
  documents: number;
  textBytes: number;
  /** Part files that hold the documents. */
  parts: string[];
  /** Files with texts changed after the parts were written. */
  texts: string[];
  decisions: string;
  /** Folder for the result file. */
  results: string;
}

export interface ShardResult {
  documents: number;
  textBytes: number;
  sha256: string;
}

export function shardResultPath(job: Pick<ShardJob, 'results' | 'heldout' | 'path'>): string {
  return join(job.results, `${job.heldout ? 'heldout' : 'train'}-${basename(job.path)}.json`);
}

/** The result file appears after the shard: a shard without it is written again, to the same bytes. */
export async function writeShard(job: ShardJob, database: DuckDBInstance): Promise<void> {
  const connection = await database.connect();
  try {
    await produceFile(job.path, async (temporary) => {
      const changed = job.texts.length > 0;
      await connection.run(`
        COPY (
          SELECT part.id, ${changed ? 'coalesce(changed.text, part.text) AS text' : 'part.text'}, part.source, part.domain, part.language, part.quality, chosen.duplicates, chosen.weight
          FROM read_parquet(${sqlList(job.parts)}) AS part
          JOIN (
            SELECT * FROM read_parquet(${sqlString(job.decisions)})
            WHERE heldout = ${job.heldout} AND shard = ${job.shard}
          ) AS chosen ON chosen.task = part.task AND chosen.position = part.position
          ${changed ? `LEFT JOIN read_parquet(${sqlList(job.texts)}) AS changed ON changed.task = part.task AND changed.position = part.position` : ''}
          ORDER BY chosen.document
        ) TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 4096)`);
    });
  } finally {
    connection.closeSync();
  }
  const result: ShardResult = {
    documents: job.documents,
    textBytes: job.textBytes,
    sha256: await sha256OfFile(job.path),
  };
  await writeFileWhole(shardResultPath(job), canonicalJson(result));
}
