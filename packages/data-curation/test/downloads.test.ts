import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { curate } from '../src/engine/curate.js';
import { huggingFaceParquetUrls } from '../src/sources/hugging-face.js';
import { prose } from './corpus.js';

let root: string;
let server: Server;
let endpoint: string;
const sha = 'a'.repeat(40);
let cutOnce = true;
const requests: { url: string; range?: string; authorization?: string }[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'downloads-'));
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  await connection.run('CREATE TABLE texts (content VARCHAR)');
  const appender = await connection.createAppender('texts');
  for (let index = 0; index < 300; index++) {
    appender.appendVarchar(prose(index, 10));
    appender.endRow();
  }
  appender.closeSync();
  await connection.run(`COPY texts TO '${join(root, 'texts.parquet')}' (FORMAT parquet)`);
  connection.closeSync();
  const parquet = await readFile(join(root, 'texts.parquet'));
  server = createServer((request, response) => answer(request, response, parquet));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(root, { recursive: true, force: true });
});

/** A small Hub: the list of files, and one file that breaks off the first time and can be continued. */
function answer(request: IncomingMessage, response: ServerResponse, parquet: Buffer): void {
  const url = request.url ?? '';
  requests.push({ url, range: request.headers.range, authorization: request.headers.authorization });
  if (url === '/api/datasets/some/texts/revision/main') {
    response.end(JSON.stringify({ sha, siblings: [{ rfilename: 'README.md' }, { rfilename: 'data/part 1.parquet' }] }));
  } else if (url === `/datasets/some/texts/resolve/${sha}/data/part%201.parquet`) {
    response.setHeader('etag', '"v1"');
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (from > 0) response.writeHead(206, { 'content-length': parquet.length - from });
    else response.writeHead(200, { 'content-length': parquet.length });
    if (cutOnce) {
      cutOnce = false;
      response.write(parquet.subarray(0, 4000), () => setTimeout(() => response.destroy(), 50));
    } else {
      response.end(parquet.subarray(from));
    }
  } else {
    response.writeHead(404).end();
  }
}

it('reads a Hugging Face dataset by URL, pinned to a commit, and continues a download that broke off', async () => {
  const { revision, urls } = await huggingFaceParquetUrls({ dataset: 'some/texts', endpoint });
  expect(revision).toBe(sha);
  const { report } = await curate(
    { sources: [{ type: 'parquet', name: 'hub', urls, textField: 'content' }] },
    { outputFolder: join(root, 'out'), workers: 1, downloadHeaders: () => ({ authorization: 'Bearer hub-token-1' }) },
  );
  expect(report.funnel[0].documents).toBe(300);
  const downloads = requests.filter(({ url }) => url.includes('/resolve/'));
  expect(downloads.map(({ range }) => range)).toEqual([undefined, 'bytes=4000-']);
  expect(downloads[0].authorization).toBe('Bearer hub-token-1');
  const files = await readFile(join(root, 'out', 'inputs.jsonl'), 'utf8');
  expect(files).toContain('00000-part_201.parquet');
  expect(await readFile(join(root, 'out', 'plan.json'), 'utf8')).not.toContain('hub-token-1');
});

it('says what is wrong with a URL or a dataset', async () => {
  const missing = { sources: [{ type: 'jsonl' as const, name: 'x', urls: [`${endpoint}/none.jsonl`] }] };
  await expect(curate(missing, { outputFolder: join(root, 'missing') })).rejects.toMatchObject({
    code: 'DOWNLOAD_FAILED',
    message: expect.stringContaining('answered 404') as string,
  });
  await expect(huggingFaceParquetUrls({ dataset: 'some/other', endpoint })).rejects.toMatchObject({
    code: 'DOWNLOAD_FAILED',
  });
  await expect(huggingFaceParquetUrls({ dataset: 'some/texts', include: ['*.csv'], endpoint })).rejects.toMatchObject({
    code: 'INPUT_NOT_FOUND',
  });
  await expect(huggingFaceParquetUrls({ dataset: 'texts', endpoint })).rejects.toMatchObject({
    code: 'OPTION_INVALID',
  });
  const both = { sources: [{ type: 'jsonl' as const, name: 'x', path: 'a', urls: [`${endpoint}/a`] }] };
  await expect(curate(both, { outputFolder: join(root, 'both') })).rejects.toThrow(/give either path or urls/);
});
