/**
 * Parquet, one document a row, read through DuckDB. DuckDB works on 2,048 rows at a time, which may be many gigabytes of text: where rows
 * are large by the file's own account, and where its memory limit says so, fewer rows are asked for at once. After damage it goes on with the
 * next row group.
 * Memory: about 24 MiB of text, or one row of at most `maximumDocumentBytes`. Where even one row needs more, since a page has to be unpacked as
 * a whole, the rows go through a file of JSON lines, which DuckDB writes with as much memory as `LargeReads` grants.
 */

import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { CurationError } from '../errors.js';
import type { ParquetSourcePlan } from '../plan/source-schema.js';
import { repairText } from '../text/encoding-repair.js';
import { sha256OfFile } from '../util/files.js';
import { hash32 } from '../util/hash.js';
import { sqlFile, sqlIdentifier, sqlString } from '../util/sql.js';
import { streamedRows } from '../util/streamed-rows.js';
import { UnreadableFile } from './decompress.js';
import { columnTypes, isOutOfMemory, parquetTable, rowsByWayOfFile } from './parquet-file.js';
import type { InputFile, RawDocument, SourceObserver } from './raw-document.js';

const vectorRows = 2048;
const windowBytes = 24 * 1024 * 1024;
/** Of rows that go through a file: each window unpacks its pages again. */
const largeWindowBytes = 64 * 1024 * 1024;

/** Memory beyond the usual limit of the connection. */
export interface LargeReads {
  run(connection: DuckDBConnection, read: () => Promise<void>): Promise<void>;
  /** A folder for files that last as long as a read. */
  scratch: string;
}

export async function* readParquet(
  source: ParquetSourcePlan,
  root: string,
  files: readonly InputFile[],
  seed: number,
  connection: DuckDBConnection,
  largeReads: LargeReads,
  observer: SourceObserver,
): AsyncGenerator<RawDocument> {
  for (const file of files) {
    const location = `${source.name}:${file.path}`;
    const path = join(root, file.path);
    const hash = await sha256OfFile(path).catch((error: unknown) => new UnreadableFile(error));
    if (hash instanceof UnreadableFile) {
      observer.onBadInput(location, hash.message);
      continue;
    }
    observer.onFile({ path: file.path, bytes: file.bytes, sha256: hash });
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
    for await (const event of readRows(connection, largeReads, path, source, hasLicense)) {
      if ('reason' in event) {
        const rows = event.first === event.last ? event.first : `${event.first}-${event.last}`;
        observer.onBadInput(`${location}#${rows}`, event.reason);
        continue;
      }
      const { row, text, bytes, license } = event;
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
  /** From 1; they are lost. */
  first: number;
  last: number;
  reason: string;
}

/** Every row in order, and the rows that cannot be read. */
async function* readRows(
  connection: DuckDBConnection,
  largeReads: LargeReads,
  path: string,
  source: ParquetSourcePlan,
  hasLicense: boolean,
): AsyncGenerator<Row | Damage> {
  const text = sqlIdentifier(source.textField);
  const license = hasLicense ? sqlIdentifier(source.licenseField!) : 'NULL';
  const wanted = `CASE WHEN strlen(${text}) <= ${source.maximumDocumentBytes} THEN ${text} END`;
  const groups = await rowGroups(connection, path, source.textField);
  const rowsBetween = (first: number, end: number) =>
    `SELECT strlen(${text}) AS bytes, ${wanted} AS text, ${license} AS license FROM ${parquetTable(path)}
     WHERE file_row_number >= ${first} AND file_row_number < ${end}`;
  let next = 0;
  let smallest = Infinity;
  let isLarge = false;
  let onlyOneGroup = false;
  for (const window of rowWindows(groups)) {
    while (next < window.end) {
      const group = groups.find(({ end }) => end > next)!;
      const rowsOfLargeWindow = Math.ceil((largeWindowBytes * group.rows) / Math.max(1, group.bytes));
      const step = isLarge ? rowsOfLargeWindow : window.step;
      const end = Math.min(next + Math.min(smallest, step), onlyOneGroup ? group.end : window.end);
      const rows = isLarge
        ? largeRowsOfQuery(connection, largeReads, rowsBetween(next, end), source.maximumDocumentBytes)
        : rowsOfQuery(connection, rowsBetween(next, end));
      try {
        for await (const [bytes, value, rowLicense] of rows) {
          yield {
            row: next++,
            text: typeof value === 'string' ? value : undefined,
            bytes: bytes === null ? undefined : Number(bytes),
            license: typeof rowLicense === 'string' ? rowLicense : undefined,
          };
        }
        next = end;
        smallest *= 2;
      } catch (error) {
        if (!(error instanceof Error) || CurationError.isInstance(error)) throw error;
        const noMemory = isOutOfMemory(error);
        if (noMemory && !isLarge) {
          isLarge = true;
          continue;
        }
        if (noMemory && end - next > 1) {
          smallest = Math.max(1, Math.floor(Math.min(end - next, vectorRows) / 8));
          continue;
        }
        if (!noMemory && end > group.end) {
          // DuckDB reads ahead: rows that stand before the damage may not have come.
          onlyOneGroup = true;
          continue;
        }
        const last = noMemory ? end : group.end;
        const reason = noMemory ? 'row too large for the memory' : `damaged (${firstLine(error)})`;
        yield { first: next + 1, last, reason };
        next = last;
      }
    }
  }
}

async function* rowsOfQuery(connection: DuckDBConnection, query: string): AsyncGenerator<unknown[]> {
  yield* streamedRows(await connection.stream(query));
}

/** The three values of each row of a query, which DuckDB writes to a file with more memory. */
async function* largeRowsOfQuery(
  connection: DuckDBConnection,
  largeReads: LargeReads,
  query: string,
  maximumDocumentBytes: number,
): AsyncGenerator<unknown[]> {
  const file = join(largeReads.scratch, 'rows.jsonl');
  // JSON writes a byte as six at most.
  const rows = rowsByWayOfFile(query, file, 6 * maximumDocumentBytes + 1024 * 1024, (statement) =>
    largeReads.run(connection, async () => {
      await connection.run(statement);
    }),
  );
  for await (const row of rows) {
    if (row === undefined) throw new Error('a licence of megabytes');
    yield [row.bytes ?? null, row.text, row.license];
  }
}

interface RowGroup {
  /** First row after the group. */
  end: number;
  rows: number;
  /** Of the text column, uncompressed. */
  bytes: number;
}

async function rowGroups(connection: DuckDBConnection, path: string, textField: string): Promise<RowGroup[]> {
  const reader = await connection.runAndReadAll(
    `SELECT row_group_num_rows, total_uncompressed_size FROM parquet_metadata(${sqlFile(path)})
     WHERE path_in_schema = ${sqlString(textField)} ORDER BY row_group_id`,
  );
  let end = 0;
  return reader
    .getRows()
    .map(([rows, bytes]) => ({ rows: Number(rows), bytes: Number(bytes), end: (end += Number(rows)) }))
    .filter(({ rows }) => rows > 0);
}

interface RowWindow {
  /** First row after the window. */
  end: number;
  /** Rows to read at once. */
  step: number;
}

/** Runs of row groups, and how many of their rows may be read at once. One window for a file of usual documents. */
function rowWindows(groups: readonly RowGroup[]): RowWindow[] {
  const windows: RowWindow[] = [];
  for (const { end, rows, bytes } of groups) {
    const step =
      (bytes / rows) * Math.min(rows, vectorRows) <= windowBytes ? Infinity : Math.ceil((windowBytes * rows) / bytes);
    const last = windows.at(-1);
    if (last?.step === step) last.end = end;
    else windows.push({ end, step });
  }
  return windows;
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // DuckDB's messages hold the whole path; the location has it already.
  return message
    .split('\n')[0]
    .replace(/"?\/[^\s"]*"?/g, 'file')
    .slice(0, 200);
}
