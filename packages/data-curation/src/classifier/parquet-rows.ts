/**
 * Rows of a Parquet file with some of its columns, in order. DuckDB hands out 2,048 rows at a time in memory that only the garbage collector
 * gives back, without knowing its size, so some 24 MiB of rows at a time go through a file of JSON lines instead. DuckDB skips row groups
 * before the rows wanted, so that reading piece by piece costs little. Memory: DuckDB's limit, and one row.
 */

import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { CurationError } from '../errors.js';
import { columnTypes, isOutOfMemory, parquetTable, rowsByWayOfFile } from '../sources/parquet-file.js';
import { sqlFile, sqlIdentifier } from '../util/sql.js';
import type { FileRecord } from './record-files.js';
import { loadDuckDB } from '../util/load-duckdb.js';

/** Longer ones are not read. */
export const maximumRecordBytes = 64 * 1024 * 1024;
const memoryLimit = '640MiB';
const windowBytes = 24 * 1024 * 1024;

/** One thread, so that rows come in the order of the file. `scratch` takes what exceeds the memory. */
export async function openDatabase(scratch: string): Promise<{ connection: DuckDBConnection; close: () => void }> {
  const { DuckDBInstance } = await loadDuckDB();
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '1',
    memory_limit: memoryLimit,
    temp_directory: join(scratch, 'spill'),
  });
  const connection = await instance.connect();
  // Queries run on several threads of libuv one after another, and each would keep what it has freed for itself.
  await connection.run("SET allocator_bulk_deallocation_flush_threshold = '16MB'");
  return {
    connection,
    close: () => {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

interface RowGroup {
  /** First row behind it. */
  end: number;
  /** Uncompressed, of all columns. */
  bytesPerRow: number;
}

export async function rowGroups(connection: DuckDBConnection, path: string): Promise<RowGroup[]> {
  const reader = await connection.runAndReadAll(
    `SELECT any_value(row_group_num_rows), sum(total_uncompressed_size) FROM parquet_metadata(${sqlFile(path)})
     GROUP BY row_group_id ORDER BY row_group_id`,
  );
  let end = 0;
  return reader.getRows().map(([rowsValue, bytes]) => {
    const rows = Number(rowsValue);
    end += rows;
    return { end, bytesPerRow: Number(bytes) / Math.max(1, rows) };
  });
}

/** Texts come as they are, anything else as its text; a column that is not there as undefined. `scratch` is the caller's alone. */
export async function* readRows(
  connection: DuckDBConnection,
  path: string,
  fields: readonly string[],
  scratch: string,
): AsyncGenerator<FileRecord> {
  const piece = join(scratch, 'rows.jsonl');
  let next = 0;
  try {
    const columns = await columnTypes(connection, path);
    const selected = fields.map((field, index) => {
      const name = sqlIdentifier(field);
      const value = !columns.has(field) ? 'NULL' : columns.get(field) === 'VARCHAR' ? name : `CAST(${name} AS VARCHAR)`;
      return `${value} AS f${index}`;
    });
    const groups = await rowGroups(connection, path);
    const total = groups.at(-1)?.end ?? 0;
    let most = Infinity;
    while (next < total) {
      const end = Math.min(windowEnd(groups, next), next + most);
      const rows = rowsByWayOfFile(
        `SELECT ${selected.join(', ')} FROM ${parquetTable(path)} WHERE file_row_number >= ${next} AND file_row_number < ${end}`,
        piece,
        maximumRecordBytes,
        (statement) => connection.run(statement),
      );
      try {
        for await (const row of rows) {
          next++;
          yield row === undefined
            ? { number: next, values: [], problem: `row longer than ${maximumRecordBytes} bytes` }
            : { number: next, values: fields.map((_, index) => row[`f${index}`] ?? undefined) };
        }
      } catch (error) {
        // Before the first row of a piece: the piece is written as a whole.
        if (!isOutOfMemory(error) || end - next === 1) throw error;
        most = Math.ceil((end - next) / 8);
        continue;
      }
      if (next !== end) throw new Error(`row ${next + 1} is missing`);
    }
  } catch (error) {
    if (CurationError.isInstance(error) || !(error instanceof Error)) throw error;
    const reason = error.message.split('\n')[0].replaceAll(path, 'file').slice(0, 200);
    yield { number: 0, values: [], problem: `not readable as Parquet after row ${next} (${reason})` };
  }
}

/** As many rows as fit a window, one at least. */
function windowEnd(groups: readonly RowGroup[], start: number): number {
  let row = start;
  let left = windowBytes;
  for (const { end, bytesPerRow } of groups) {
    if (end <= row) continue;
    const fitting = Math.floor(left / Math.max(1, bytesPerRow));
    if (row + fitting < end) return Math.max(start + 1, row + fitting);
    left -= (end - row) * bytesPerRow;
    row = end;
  }
  return row;
}
