/**
 * Records of JSON Lines (plain, `.gz`, `.zst`) and Parquet files with some of their fields, in the order of the file, those included that
 * cannot be used. Memory: one record; for Parquet see `parquet-rows.ts`.
 */

import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CurationError } from '../errors.js';
import { compressionOf } from '../sources/decompress.js';
import { readLines } from '../sources/line-reader.js';
import { maximumRecordBytes, openDatabase, readRows } from './parquet-rows.js';

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

/** @throws CurationError `INPUT_NOT_FOUND` for a file that is not there. */
export async function* readRecords(path: string, fields: readonly string[]): AsyncGenerator<FileRecord> {
  await requireFile(path);
  if (kindOfRecordFile(path) === 'jsonl') {
    yield* readLineRecords(path, fields);
    return;
  }
  const scratch = await mkdtemp(join(tmpdir(), 'records-'));
  const database = await openDatabase(scratch);
  try {
    yield* readRows(database.connection, path, fields, scratch);
  } finally {
    database.close();
    await rm(scratch, { recursive: true, force: true });
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

async function* readLineRecords(path: string, fields: readonly string[]): AsyncGenerator<FileRecord> {
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  for await (const event of readLines(path, compressionOf(path), maximumRecordBytes)) {
    if (event.kind === 'end') return;
    if (event.kind === 'damage') {
      yield { number: 0, values: [], problem: event.reason };
      continue;
    }
    const { number } = event;
    if (event.kind === 'long') {
      yield { number, values: [], problem: `line longer than ${maximumRecordBytes} bytes` };
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
