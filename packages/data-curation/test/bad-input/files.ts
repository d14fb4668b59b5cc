/** Writers of input files, good ones to be damaged. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { WARCRecord, WARCSerializer } from 'warcio';
import { prose } from '../corpus.js';

/** A file under a folder, with the folders it needs. */
export async function put(folder: string, name: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), content);
}

/** Lines of good documents, which differ by `seed`. */
export function goodLines(seed: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => JSON.stringify({ text: prose(seed * 1000 + index, 5) }));
}

export const jsonl = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join('');

async function withDatabase(run: (sql: (statement: string) => Promise<unknown>) => Promise<void>): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    await run((statement) => connection.run(statement));
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** Parquet with the column `text`, in row groups of 2,048 rows, without compression, so that damage can be aimed. */
export async function parquet(folder: string, name: string, texts: readonly string[]): Promise<void> {
  await put(folder, `${name}.lines`, jsonl(texts.map((text) => JSON.stringify({ text }))));
  const rows = `read_json('${join(folder, `${name}.lines`)}', format = 'newline_delimited')`;
  await parquetOf(folder, name, `SELECT text FROM ${rows}`);
}

export async function parquetOf(folder: string, name: string, query: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, name);
  const options = 'FORMAT parquet, ROW_GROUP_SIZE 2048, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 0';
  await withDatabase((sql) => sql(`COPY (${query}) TO '${file}' (${options})`).then(() => undefined));
}

/** JSON Lines in Zstandard. */
export async function zstd(folder: string, name: string, lines: readonly string[]): Promise<void> {
  await put(folder, `${name}.lines`, jsonl(lines));
  const rows = `read_json('${join(folder, `${name}.lines`)}', format = 'newline_delimited')`;
  await withDatabase((sql) =>
    sql(`COPY (SELECT text FROM ${rows}) TO '${join(folder, name)}' (FORMAT json, COMPRESSION zstd)`).then(
      () => undefined,
    ),
  );
}

/** One column of some Parquet files. */
export async function rowsOf(paths: readonly string[], column: string): Promise<unknown[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const list = paths.map((path) => `'${path}'`).join(', ');
  const reader = await connection.runAndReadAll(`SELECT ${column} FROM read_parquet([${list}])`);
  connection.closeSync();
  instance.closeSync();
  return reader.getRows().map(([value]) => value);
}

/** Replaces bytes of a file by what `change` makes of them. */
export async function damage(folder: string, name: string, change: (bytes: Buffer) => Uint8Array): Promise<void> {
  const path = join(folder, name);
  await writeFile(path, change(await readFile(path)));
}

/** A record of a web archive that holds a page. */
export async function page(html: string | Uint8Array, headers: Record<string, string> = {}): Promise<Buffer> {
  const body = typeof html === 'string' ? Buffer.from(html) : html;
  const record = WARCRecord.create(
    {
      url: 'http://a/../../etc/passwd',
      type: 'response',
      httpHeaders: { 'Content-Type': 'text/html; charset=utf-8', ...headers },
      statusline: 'HTTP/1.1 200 OK',
      date: '2020-01-01T00:00:00Z',
    },
    [body],
  );
  return Buffer.from(await WARCSerializer.serialize(record));
}

/** HTML with running text of its own. */
export const html = (seed: number, inside = '') =>
  `<html><body><main>${inside}<p>${prose(seed, 10)}</p></main></body></html>`;

/** A record whose `Content-Length` is what `change` makes of the true one. */
export async function lyingPage(seed: number, change: (length: number) => string | number): Promise<Buffer> {
  const record = (await page(html(seed))).toString('latin1');
  return Buffer.from(
    record.replace(/Content-Length: (\d+)/, (_, length: string) => `Content-Length: ${change(Number(length))}`),
    'latin1',
  );
}
