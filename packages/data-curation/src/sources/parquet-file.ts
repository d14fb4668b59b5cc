/**
 * One Parquet file through DuckDB, as the sources and the classifiers read it: the path as it is (never a pattern, never a partition), its
 * columns, and rows by way of a file of JSON lines, whose memory DuckDB counts and gives back, unlike that of rows it hands out.
 */

import { rm } from 'node:fs/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlFile, sqlString } from '../util/sql.js';
import { readLines } from './line-reader.js';

/** The file as a table, with the column `file_row_number`, from 0. */
export function parquetTable(path: string): string {
  return `read_parquet(${sqlFile(path)}, file_row_number = true, hive_partitioning = false)`;
}

/** Name → type. @throws what DuckDB says when the file is no Parquet. */
export async function columnTypes(connection: DuckDBConnection, path: string): Promise<Map<string, string>> {
  const reader = await connection.runAndReadAll(
    `DESCRIBE SELECT * EXCLUDE (file_row_number) FROM ${parquetTable(path)}`,
  );
  return new Map(reader.getRows().map(([name, type]) => [String(name), String(type)]));
}

export function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && /^Out of Memory/i.test(error.message);
}

/** The rows of a query in its order; undefined for one of more than `maximumRowBytes` as JSON. `file` is the caller's, and gone afterwards. */
export async function* rowsByWayOfFile(
  query: string,
  file: string,
  maximumRowBytes: number,
  execute: (statement: string) => Promise<unknown>,
): AsyncGenerator<Record<string, unknown> | undefined> {
  try {
    await execute(`COPY (${query}) TO ${sqlString(file)} (FORMAT json)`);
    for await (const event of readLines(file, 'none', maximumRowBytes)) {
      if (event.kind === 'damage') throw new Error(event.reason);
      if (event.kind === 'line') yield JSON.parse(event.bytes.toString()) as Record<string, unknown>;
      else if (event.kind === 'long') yield undefined;
    }
  } finally {
    await rm(file, { force: true });
  }
}
