/** Parquet, one document a row, read through DuckDB in batches. Memory: one row group. */

import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { ParquetSourcePlan } from '../plan/source-schema.js';
import { repairText } from '../text/encoding-repair.js';
import { sha256OfFile } from '../util/files.js';
import { hash32 } from '../util/hash.js';
import { sqlIdentifier, sqlString } from '../util/sql.js';
import type { InputFile, RawDocument, SourceObserver } from './raw-document.js';

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
    const license =
      source.licenseField !== undefined && columns.get(source.licenseField) === 'VARCHAR'
        ? sqlIdentifier(source.licenseField)
        : 'NULL';
    let row = 0;
    try {
      const result = await connection.stream(
        `SELECT ${sqlIdentifier(source.textField)}, ${license} FROM read_parquet(${sqlString(path)})`,
      );
      for await (const rows of result.yieldRows()) {
        for (const [text, rowLicense] of rows) {
          row++;
          const id = `${location}#${row}`;
          if (source.sampleFraction < 1 && hash32('sample', seed, id) >= source.sampleFraction * 2 ** 32) continue;
          if (typeof text !== 'string') {
            observer.onBadInput(id, `column "${source.textField}" is null`);
            continue;
          }
          const repaired = repairText(text);
          yield {
            id,
            path: file.path,
            text: repaired.text,
            inputBytes: Buffer.byteLength(text),
            repairs: repaired.repairs,
            license: typeof rowLicense === 'string' ? rowLicense : source.license,
          };
        }
      }
    } catch (error) {
      if (!(error instanceof Error) || error.name === 'CurationError') throw error;
      observer.onBadInput(location, `damaged after row ${row} (${firstLine(error)})`);
    }
  }
}

async function columnTypes(connection: DuckDBConnection, path: string): Promise<Map<string, string>> {
  const reader = await connection.runAndReadAll(`DESCRIBE SELECT * FROM read_parquet(${sqlString(path)})`);
  return new Map(reader.getRows().map(([name, type]) => [String(name), String(type)]));
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // DuckDB's messages hold the whole path; the location has it already.
  return message
    .split('\n')[0]
    .replace(/"?\/[^\s"]*"?/g, 'file')
    .slice(0, 200);
}
