/**
 * Parquet, one document a row, read through DuckDB. DuckDB works on 2,048 rows at a time, which may be many gigabytes of text: where rows
 * are large by the file's own account, and where its memory limit says so, fewer rows are asked for at once.
 * Memory: about 24 MiB of text, or one row of at most `maximumDocumentBytes`.
 */

import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { CurationError } from '../errors.js';
import type { ParquetSourcePlan } from '../plan/source-schema.js';
import { repairText } from '../text/encoding-repair.js';
import { sha256OfFile } from '../util/files.js';
import { hash32 } from '../util/hash.js';
import { sqlIdentifier, sqlString } from '../util/sql.js';
import { streamedRows } from '../util/streamed-rows.js';
import type { InputFile, RawDocument, SourceObserver } from './raw-document.js';

const vectorRows = 2048;
const windowBytes = 24 * 1024 * 1024;

export async function* readParquet(
  source: ParquetSourcePlan,
  root: string,
  files: readonly InputFile[],
  seed: number,
  connection: DuckDBConnection,
  observer: SourceObserver,
): AsyncGenerator<RawDocument> {
  for (const file of files) {
    const location = `${source.name}:${file.path}`;
    const path = join(root, file.path);
    observer.onFile({ path: file.path, bytes: file.bytes, sha256: await sha256OfFile(path) });
    const columns = await columnTypes(connection, path).catch((error: unknown) => {
      observer.onBadInput(location, `not readable as Parquet (${firstLine(error)})`);
      return undefined;
    });
    if (columns === undefined) continue;
    if (columns.get(source.textField) !== 'VARCHAR') {
      const found = columns.get(source.textField);
      observer.onBadInput(
        location,
        found === undefined ? `column "${source.textField}" is missing` : `column "${source.textField}" is ${found}`,
      );
      continue;
    }
    const hasLicense = source.licenseField !== undefined && columns.get(source.licenseField) === 'VARCHAR';
    for await (const { row, text, bytes, license } of readRows(connection, path, source, hasLicense)) {
      if (row === undefined) {
        observer.onBadInput(location, text);
        continue;
      }
      const id = `${location}#${row + 1}`;
      if (source.sampleFraction < 1 && hash32('sample', seed, id) >= source.sampleFraction * 2 ** 32) continue;
      if (bytes === undefined) {
        observer.onBadInput(id, `column "${source.textField}" is null`);
      } else if (text === undefined) {
        const detail = `${bytes} bytes > ${source.maximumDocumentBytes}`;
        observer.onSkipped(id, file.path, 'document too large', detail, bytes);
      } else {
        const repaired = repairText(text);
        yield {
          id,
          path: file.path,
          text: repaired.text,
          inputBytes: bytes,
          repairs: repaired.repairs,
          license: license ?? source.license,
        };
      }
    }
  }
}

interface Row {
  /** From 0. */
  row: number;
  /** Undefined when it is too long, or null. */
  text: string | undefined;
  /** UTF-8 bytes of the text; undefined when it is null. */
  bytes: number | undefined;
  license: string | undefined;
}

interface Damage {
  row: undefined;
  /** What is wrong. */
  text: string;
  bytes: undefined;
  license: undefined;
}

/** Every row in order, then what stopped the reading, if anything did. */
async function* readRows(
  connection: DuckDBConnection,
  path: string,
  source: ParquetSourcePlan,
  hasLicense: boolean,
): AsyncGenerator<Row | Damage> {
  const text = sqlIdentifier(source.textField);
  const license = hasLicense ? sqlIdentifier(source.licenseField!) : 'NULL';
  const wanted = `CASE WHEN strlen(${text}) <= ${source.maximumDocumentBytes} THEN ${text} END`;
  const windows = await rowWindows(connection, path, source.textField);
  let next = 0;
  let smallest = Infinity;
  for (const window of windows) {
    while (next < window.end) {
      const rows = Math.min(smallest, window.step, window.end - next);
      const range =
        rows === Infinity
          ? `file_row_number >= ${next}`
          : `file_row_number >= ${next} AND file_row_number < ${next + rows}`;
      const end = next + rows;
      try {
        const result = await connection.stream(
          `SELECT strlen(${text}), ${wanted}, ${license} FROM read_parquet(${sqlString(path)}, file_row_number = true)
           WHERE ${next === 0 && rows === Infinity ? 'true' : range}`,
        );
        for await (const [bytes, value, rowLicense] of streamedRows(result)) {
          const row = next++;
          yield {
            row,
            text: typeof value === 'string' ? value : undefined,
            bytes: bytes === null ? undefined : Number(bytes),
            license: typeof rowLicense === 'string' ? rowLicense : undefined,
          };
        }
        next = end;
      } catch (error) {
        if (!(error instanceof Error) || CurationError.isInstance(error)) throw error;
        if (isOutOfMemory(error) && rows > 1) {
          smallest = Math.max(1, Math.floor(Math.min(rows, vectorRows) / 8));
          continue;
        }
        yield {
          row: undefined,
          text: `damaged after row ${next} (${firstLine(error)})`,
          bytes: undefined,
          license: undefined,
        };
        return;
      }
    }
  }
}

interface RowWindow {
  /** First row after the window. */
  end: number;
  /** Rows to read at once. */
  step: number;
}

/** Runs of row groups, and how many of their rows may be read at once. One window for a file of usual documents. */
async function rowWindows(connection: DuckDBConnection, path: string, textField: string): Promise<RowWindow[]> {
  const windows: RowWindow[] = [];
  const reader = await connection.runAndReadAll(
    `SELECT row_group_num_rows, total_uncompressed_size FROM parquet_metadata(${sqlString(path)})
     WHERE path_in_schema = ${sqlString(textField)} ORDER BY row_group_id`,
  );
  let end = 0;
  for (const [rowsValue, bytesValue] of reader.getRows()) {
    const rows = Number(rowsValue);
    if (rows === 0) continue;
    end += rows;
    const bytesOfRow = Number(bytesValue) / rows;
    const step =
      bytesOfRow * Math.min(rows, vectorRows) <= windowBytes ? Infinity : Math.ceil(windowBytes / bytesOfRow);
    const last = windows.at(-1);
    if (last?.step === step) last.end = end;
    else windows.push({ end, step });
  }
  if (windows.length === 0) return [{ end: Infinity, step: Infinity }];
  return windows;
}

async function columnTypes(connection: DuckDBConnection, path: string): Promise<Map<string, string>> {
  const reader = await connection.runAndReadAll(`DESCRIBE SELECT * FROM read_parquet(${sqlString(path)})`);
  return new Map(reader.getRows().map(([name, type]) => [String(name), String(type)]));
}

function isOutOfMemory(error: Error): boolean {
  return /^Out of Memory/i.test(error.message);
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // DuckDB's messages hold the whole path; the location has it already.
  return message
    .split('\n')[0]
    .replace(/"?\/[^\s"]*"?/g, 'file')
    .slice(0, 200);
}
