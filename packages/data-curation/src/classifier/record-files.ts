/**
 * Records of JSON Lines (plain, `.gz`, `.zst`) and Parquet files with some of their fields, in the order of the file, those included that
 * cannot be used. Memory: one record; of Parquet, what DuckDB reads at a time, fewer rows where they do not fit its limit.
 */

import { stat } from 'node:fs/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import { DuckDBInstance } from '@duckdb/node-api';
import { CurationError } from '../errors.js';
import { compressionOf } from '../sources/decompress.js';
import { readLines } from '../sources/line-reader.js';
import { sqlIdentifier, sqlString } from '../util/sql.js';
import { streamedRows } from '../util/streamed-rows.js';

export type RecordFileKind = 'jsonl' | 'parquet';

/** By the end of its name; undefined for a file of neither kind. */
export function kindOfRecordFile(path: string): RecordFileKind | undefined {
  if (/\.(?:jsonl|ndjson)(?:\.gz|\.zstd?)?$|\.json\.gz$/.test(path)) return 'jsonl';
  return path.endsWith('.parquet') ? 'parquet' : undefined;
}

export interface FileRecord {
  /** Line or row, from 1; 0 for what concerns the whole file. */
  number: number;
  /** The values of the fields asked for, undefined where there is none; all undefined with a `problem`. */
  values: unknown[];
  /** A line as it stands in the file, without its line feed. */
  line?: string;
  /** Names of the fields of a line. */
  names?: ReadonlySet<string>;
  /** Why there is no record. The reading goes on behind it, if it can. */
  problem?: string;
}

const maximumLineBytes = 64 * 1024 * 1024;
const memoryLimit = '512MiB';

/** @throws CurationError `INPUT_NOT_FOUND` for a file that is not there. */
export async function* readRecords(path: string, fields: readonly string[]): AsyncGenerator<FileRecord> {
  await requireFile(path);
  if (kindOfRecordFile(path) === 'jsonl') {
    yield* readLineRecords(path, fields);
    return;
  }
  const database = await openDatabase();
  try {
    yield* readRows(database.connection, path, fields);
  } finally {
    database.close();
  }
}

export async function requireFile(path: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    throw new CurationError('INPUT_NOT_FOUND', `The file ${path} cannot be read.`, {
      value: path,
      remedy: 'Check the path.',
      cause: error,
    });
  });
  if (found.isFile()) return;
  throw new CurationError('INPUT_NOT_FOUND', `${path} is not a file.`, {
    value: path,
    remedy: 'Give JSON Lines or Parquet files.',
  });
}

/** One thread, so that rows come in the order of the file. */
export async function openDatabase(
  temporaryFolder?: string,
): Promise<{ connection: DuckDBConnection; close: () => void }> {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '1',
    memory_limit: memoryLimit,
    ...(temporaryFolder === undefined ? {} : { temp_directory: temporaryFolder }),
  });
  const connection = await instance.connect();
  return {
    connection,
    close: () => {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

/** Name → type; undefined when the file is no Parquet. */
export async function columnsOf(connection: DuckDBConnection, path: string): Promise<Map<string, string>> {
  const reader = await connection.runAndReadAll(`DESCRIBE SELECT * FROM read_parquet(${sqlString(path)})`);
  return new Map(reader.getRows().map(([name, type]) => [String(name), String(type)]));
}

async function* readLineRecords(path: string, fields: readonly string[]): AsyncGenerator<FileRecord> {
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  for await (const event of readLines(path, compressionOf(path), maximumLineBytes)) {
    if (event.kind === 'end') return;
    if (event.kind === 'damage') {
      yield { number: 0, values: [], problem: event.reason };
      continue;
    }
    const { number } = event;
    if (event.kind === 'long') {
      yield { number, values: [], problem: `line longer than ${maximumLineBytes} bytes` };
      continue;
    }
    let line: string;
    try {
      line = utf8.decode(event.bytes);
    } catch {
      yield { number, values: [], problem: 'invalid UTF-8' };
      continue;
    }
    if (line.trim() === '') continue;
    const record = parseObject(line);
    if (typeof record === 'string') yield { number, values: [], problem: record };
    else {
      const names = new Set(Object.keys(record));
      yield { number, line, names, values: fields.map((field) => (names.has(field) ? record[field] : undefined)) };
    }
  }
}

function parseObject(line: string): Record<string, unknown> | string {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not a JSON object';
    return value as Record<string, unknown>;
  } catch {
    return 'not JSON';
  }
}

/** Rows of text, numbers and truth values; anything else comes as its text. */
export async function* readRows(
  connection: DuckDBConnection,
  path: string,
  fields: readonly string[],
): AsyncGenerator<FileRecord> {
  let next = 0;
  try {
    const columns = await columnsOf(connection, path);
    const selected = fields.map((field) => {
      if (!columns.has(field)) return 'NULL';
      const name = sqlIdentifier(field);
      return columns.get(field) === 'VARCHAR' ? name : `CAST(${name} AS VARCHAR)`;
    });
    let step = Infinity;
    for (let isMore = true; isMore;) {
      const end = next + step;
      const range =
        step === Infinity ? `file_row_number >= ${next}` : `file_row_number >= ${next} AND file_row_number < ${end}`;
      try {
        const before = next;
        const result = await connection.stream(
          `SELECT ${[...selected, '0'].join(', ')} FROM read_parquet(${sqlString(path)}, file_row_number = true) WHERE ${range}`,
        );
        for await (const row of streamedRows(result)) {
          next++;
          yield { number: next, values: fields.map((_, index) => row[index] ?? undefined) };
        }
        isMore = step !== Infinity && next > before;
      } catch (error) {
        if (!(error instanceof Error) || !/^Out of Memory/i.test(error.message) || step === 1) throw error;
        step = step === Infinity ? 256 : Math.floor(step / 16);
      }
    }
  } catch (error) {
    if (CurationError.isInstance(error) || !(error instanceof Error)) throw error;
    const reason = error.message.split('\n')[0].replaceAll(path, 'file').slice(0, 200);
    yield { number: 0, values: [], problem: `not readable as Parquet after row ${next} (${reason})` };
  }
}
