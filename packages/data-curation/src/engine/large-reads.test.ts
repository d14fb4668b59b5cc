/** A Parquet file as DuckDB writes it: pages of 100 MB, of which not one fits a worker's share of the memory. */

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parquetSourceSchema } from '../plan/source-schema.js';
import { listFiles } from '../sources/walk.js';
import { readParquet } from '../sources/parquet.js';
import { sqlFile } from '../util/sql.js';
import { openWorkerDatabase } from './document-store.js';
import { sharedLargeReads } from './large-reads.js';

const rows = 500;
const text = (row: number) => `${row} `.repeat(80_000);

let root: string;
let path: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'large-'));
  path = join(root, 'large.parquet');
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  await connection.run(
    `COPY (SELECT repeat(i || ' ', 80000) AS text FROM range(${rows}) t(i)) TO ${sqlFile(path)} (COMPRESSION zstd)`,
  );
  connection.closeSync();
  instance.closeSync();
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function read(slot: SharedArrayBuffer, largeMebibytes: number) {
  const scratch = await mkdtemp(join(root, 'scratch-'));
  const instance = await openWorkerDatabase(scratch, 128);
  const connection = await instance.connect();
  const largeReads = sharedLargeReads({ slot, usualMebibytes: 128, largeMebibytes, scratch });
  const source = parquetSourceSchema.parse({ type: 'parquet', name: 'p', path });
  const { files } = await listFiles(path, { include: ['**/*'], exclude: [] });
  const found: boolean[] = [];
  const bad: string[] = [];
  const observer = {
    onFile: () => undefined,
    onSkipped: () => undefined,
    onBadInput: (location: string, reason: string) => bad.push(`${location} ${reason}`),
  };
  for await (const document of readParquet(source, root, files, 0, connection, largeReads, observer)) {
    found.push(document.id === `p:large.parquet#${found.length + 1}` && document.text === text(found.length));
  }
  const limit = (await connection.runAndReadAll("SELECT current_setting('memory_limit')")).getRows()[0][0];
  connection.closeSync();
  instance.closeSync();
  return { found, bad, limit, left: await readdir(scratch) };
}

it('reads every row, in order, with the memory of the slot, and gives it back', async () => {
  const slot = new SharedArrayBuffer(4);
  const [first, second] = await Promise.all([read(slot, 448), read(new SharedArrayBuffer(4), 448)]);
  for (const { found, bad, limit, left } of [first, second]) {
    expect(bad).toEqual([]);
    expect(found).toEqual(Array.from({ length: rows }, () => true));
    expect(limit).toBe('128.0 MiB');
    expect(left).toEqual([]);
  }
  expect(new Int32Array(slot)[0]).toBe(0);
});
