import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { DuckDBConnection } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sqlString } from '../util/sql.js';
import { columnTypes, parquetTable, rowsByWayOfFile } from './parquet-file.js';

let root: string;
let path: string;
let instance: DuckDBInstance;
let connection: DuckDBConnection;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'parquet-'));
  // Read as a partition or as a pattern, this path would give another column and no file.
  const folder = join(root, 'text=wrong', '[a]');
  await mkdir(folder, { recursive: true });
  path = join(folder, 'a.parquet');
  instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  connection = await instance.connect();
  await connection.run(
    `COPY (VALUES ('right', 1), (repeat('x', 200), 2), (NULL, 3)) TO ${sqlString(join(root, 'a.parquet'))} (FORMAT parquet)`,
  );
  await connection.run(
    `COPY (SELECT col0 AS text, col1 AS n FROM read_parquet(${sqlString(join(root, 'a.parquet'))})) TO ${sqlString(path)} (FORMAT parquet)`,
  );
});
afterAll(async () => {
  connection.closeSync();
  instance.closeSync();
  await rm(root, { recursive: true, force: true });
});

it('takes the path for one file, whatever stands in it', async () => {
  expect([...(await columnTypes(connection, path))]).toEqual([
    ['text', 'VARCHAR'],
    ['n', 'INTEGER'],
  ]);
  const rows = await connection.runAndReadAll(`SELECT text, file_row_number FROM ${parquetTable(path)} LIMIT 1`);
  expect(rows.getRows()).toEqual([['right', 0n]]);
});

it('gives rows by way of a file, which is gone afterwards, also when nobody wants the rest', async () => {
  const scratch = await mkdtemp(join(root, 'scratch-'));
  const read = () =>
    rowsByWayOfFile(`SELECT text, n FROM ${parquetTable(path)}`, join(scratch, 'rows.jsonl'), 100, (statement) =>
      connection.run(statement),
    );
  const found: unknown[] = [];
  for await (const row of read()) found.push(row);
  expect(found).toEqual([{ text: 'right', n: 1 }, undefined, { text: null, n: 3 }]);
  for await (const row of read()) {
    expect(row).toEqual({ text: 'right', n: 1 });
    break;
  }
  expect(await readdir(scratch)).toEqual([]);
});
