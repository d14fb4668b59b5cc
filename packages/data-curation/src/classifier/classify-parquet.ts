/**
 * Parquet in, Parquet out: all columns as they are and the new ones behind them, Zstandard. The file is read twice, once for its texts and once
 * to be copied beside the predictions, since DuckDB writes Parquet only from a query.
 * Memory: what DuckDB may take (640 MiB); the predictions wait on disk.
 */

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { CurationError } from '../errors.js';
import { columnTypes } from '../sources/parquet-file.js';
import { canonicalJson } from '../util/canonical-json.js';
import { produceFile } from '../util/files.js';
import { LineFile } from '../util/line-file.js';
import { sqlFile, sqlIdentifier, sqlString } from '../util/sql.js';
import type { Classification } from './classification.js';
import { addedFields, fieldTaken, predict } from './classification.js';
import { openDatabase, readRows, rowGroups } from './parquet-rows.js';

/** A row group is encoded as a whole: see the shards of a curation. */
const rowGroupBytes = 8 * 1024 * 1024;
const rowGroupRows = 4096;

/** `scratch` is the caller's alone. @throws CurationError `INPUT_INVALID` for a file that cannot be read to its end. */
export async function classifyParquet(
  input: string,
  output: string,
  scratch: string,
  classification: Classification,
): Promise<void> {
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true });
  const { connection, close } = await openDatabase(scratch);
  try {
    await checkColumns(connection, input, classification);
    const predictions = join(scratch, 'predictions.jsonl');
    await writePredictions(connection, input, scratch, predictions, classification);
    const names = addedFields(classification);
    const columns = names.map((name, index) => {
      const type = index === 0 && classification.scoreOf === undefined ? 'VARCHAR' : 'DOUBLE';
      return `${sqlString(name)}: ${sqlString(type)}`;
    });
    const added = names.map((name) => `prediction.${sqlIdentifier(name)}`).join(', ');
    await produceFile(output, async (temporary) => {
      await connection.run(`
        COPY (
          SELECT source.*, ${added} FROM read_parquet(${sqlFile(input)}, hive_partitioning = false) AS source
          POSITIONAL JOIN read_json(${sqlFile(predictions)}, format = 'newline_delimited', hive_partitioning = false, columns = {${columns.join(', ')}}) AS prediction
        ) TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${await groupRows(connection, input)})`);
      // A join by position fills up the shorter side: then the file changed between the readings.
      const written = await connection.runAndReadAll(
        `SELECT count(*) FROM read_parquet(${sqlFile(temporary)}, hive_partitioning = false)`,
      );
      if (Number(written.getRows()[0][0]) !== classification.documents) throw unreadable(input, 'it changed meanwhile');
    });
  } finally {
    close();
    await rm(scratch, { recursive: true, force: true });
  }
}

async function checkColumns(
  connection: DuckDBConnection,
  input: string,
  classification: Classification,
): Promise<void> {
  const columns = await columnTypes(connection, input).catch((error: unknown) => {
    throw unreadable(input, error instanceof Error ? error.message.split('\n')[0] : String(error), error);
  });
  const type = columns.get(classification.textField);
  if (type !== 'VARCHAR') {
    const reason = type === undefined ? 'is missing' : `is ${type}`;
    throw unreadable(input, `column "${classification.textField}" ${reason}`);
  }
  // Names of columns differ in more than case.
  const taken = new Set([...columns.keys()].map((name) => name.toLowerCase()));
  const name = addedFields(classification).find((field) => taken.has(field.toLowerCase()));
  if (name !== undefined) throw fieldTaken(input, name);
}

async function writePredictions(
  connection: DuckDBConnection,
  input: string,
  scratch: string,
  path: string,
  classification: Classification,
): Promise<void> {
  const names = addedFields(classification);
  const file = new LineFile(path);
  try {
    for await (const { number, values, problem } of readRows(connection, input, [classification.textField], scratch)) {
      if (problem !== undefined && number === 0) throw unreadable(input, problem);
      const location = `${input}#${number}`;
      if (problem !== undefined) classification.refuse(location, problem);
      const prediction = problem === undefined ? predict(location, values[0], classification) : names.map(() => null);
      file.add(canonicalJson(Object.fromEntries(names.map((name, index) => [name, prediction[index]]))));
      classification.onDocument();
    }
    file.finish();
  } finally {
    file.discard();
  }
}

async function groupRows(connection: DuckDBConnection, input: string): Promise<number> {
  let largest = 1;
  for (const { bytesPerRow } of await rowGroups(connection, input)) largest = Math.max(largest, bytesPerRow);
  return Math.max(1, Math.min(rowGroupRows, Math.floor(rowGroupBytes / largest)));
}

function unreadable(input: string, reason: string, cause?: unknown): CurationError {
  return new CurationError('INPUT_INVALID', `${input} cannot be classified: ${reason}.`, {
    value: input,
    remedy: 'Repair the file, or leave it out.',
    cause,
  });
}
