/** Removal of repeated lines and passages, and weights fitted to the corpus, in whole curations. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { curate } from '../src/engine/curate.js';
import type { CurationPlanInput } from '../src/plan/schema.js';
import { seededRandom } from '../src/util/permutation.js';
import { prose } from './corpus.js';
import { hashFolder } from './folder-hash.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'repeated-'));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

const jsonl = (texts: readonly string[]) => texts.map((text) => `${JSON.stringify({ text })}\n`).join('');

async function textsOf(paths: readonly string[]): Promise<Map<number, string>> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const reader = await connection.runAndReadAll(
    `SELECT id, text FROM read_parquet([${paths.map((path) => `'${path}'`).join(', ')}])`,
  );
  connection.closeSync();
  return new Map(reader.getRows().map(([id, text]) => [Number(String(id).split('#')[1]), String(text)]));
}

const random = seededRandom(77);
/** Random words: no run of many words comes twice by chance. */
const randomText = (count: number) =>
  Array.from({ length: count }, (_, index) => `w${Math.floor(random() * 1e6)}${index % 12 === 11 ? '.\n' : ''}`).join(
    ' ',
  );

it('removes lines that many documents share and passages that came before, the same for any number of workers', async () => {
  const footer = 'Subscribe to our newsletter for more pages like this one.';
  const passage = randomText(60);
  const half = randomText(40);
  const texts = Array.from({ length: 60 }, (_, index) => {
    let text = randomText(150);
    if (index < 20) text += `\n${footer}\n${randomText(20)}`;
    if (index % 20 === 3) text += `\n${passage}\n${randomText(30)}`;
    if (index % 20 === 5) text += `\n${half}\n${randomText(30)}`;
    return text;
  });
  texts.push(`${footer}\n${passage}`);
  // Two files, so that there are two tasks.
  await writeFile(join(root, 'a.jsonl'), jsonl(texts.slice(0, 30)));
  await writeFile(join(root, 'b.jsonl'), jsonl(texts.slice(30)));
  const plan: CurationPlanInput = {
    sources: [
      { type: 'jsonl', name: 'a', path: join(root, 'a.jsonl'), domain: 'other' },
      { type: 'jsonl', name: 'b', path: join(root, 'b.jsonl'), domain: 'other' },
    ],
    filters: [{ filter: 'length' }],
    deduplication: { lines: { maximumDocuments: 6 }, substrings: { words: 50 } },
    heldout: { fraction: 0 },
  };
  const { shards, report } = await curate(plan, { outputFolder: join(root, 'one'), workers: 1 });
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const reader = await connection.runAndReadAll(`SELECT text FROM read_parquet('${shards[0].path}')`);
  connection.closeSync();
  const left = reader.getRows().map(([text]) => String(text));
  expect(left).toHaveLength(60);
  expect(left.filter((text) => text.includes(footer))).toEqual([]);
  const words = (text: string) => text.match(/[\p{L}\p{N}_]+/gu) ?? [];
  // Independently: every 50-word run stands in one place only, and nothing else is gone.
  const runs = new Map<string, number>();
  for (const text of left) {
    const list = words(text);
    for (let start = 0; start + 50 <= list.length; start++) {
      const run = list.slice(start, start + 50).join(' ');
      runs.set(run, (runs.get(run) ?? 0) + 1);
    }
  }
  expect([...runs.values()].filter((count) => count > 1)).toEqual([]);
  const count = (list: readonly string[]) => list.reduce((sum, text) => sum + words(text).length, 0);
  const footers = 21 * words(footer).length;
  expect(count(left)).toBe(count(texts) - footers - 3 * 60);
  expect(left.filter((text) => text.includes(half))).toHaveLength(3);
  expect(report.funnel.find(({ step }) => step === 'repeated text')).toMatchObject({
    documents: 60,
    description: expect.stringContaining('21 documents, repeated passages from 3') as string,
  });

  const controller = new AbortController();
  const interrupted = curate(plan, {
    outputFolder: join(root, 'three'),
    workers: 3,
    signal: controller.signal,
    onProgress: ({ task }) => {
      if (task === 'repeated text') controller.abort();
    },
  });
  await expect(interrupted).rejects.toMatchObject({ code: 'ABORTED' });
  await curate(plan, { outputFolder: join(root, 'three'), workers: 3 });
  expect(await hashFolder(join(root, 'three'))).toEqual(await hashFolder(join(root, 'one')));
});

it('fits weights to what the filters drop by cluster size', async () => {
  // Pairs of good pages, a template that comes 150 times and is too short, single pages of both kinds.
  const texts: string[] = [];
  for (let index = 0; index < 100; index++) texts.push(prose(index, 10), prose(index, 10));
  for (let index = 0; index < 150; index++) texts.push('Page not found on this server');
  for (let index = 0; index < 100; index++)
    texts.push(index % 2 === 0 ? prose(1000 + index, 10) : `Stub number ${index}`);
  await writeFile(join(root, 'fit.jsonl'), jsonl(texts));
  const { shards, report } = await curate(
    {
      sources: [{ type: 'jsonl', name: 'fit', path: join(root, 'fit.jsonl'), domain: 'other' }],
      filters: [{ filter: 'length', minimumCharacters: 100 }],
      heldout: { fraction: 0 },
      mixture: { weightCurve: 'fitted', maximumRepeats: 5 },
    },
    { outputFolder: join(root, 'fit'), workers: 2 },
  );
  // Of 100 single pages 50 are dropped, of 100 pairs none, and the one template: 51 of 201 clusters.
  expect(report.fittedWeightCurve?.overallRate).toBeCloseTo(51 / 201, 4);
  expect(report.funnel.at(-1)?.documents).toBe(150);
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const reader = await connection.runAndReadAll(
    `SELECT duplicates, count(*)::INTEGER, min(weight), max(weight) FROM read_parquet('${shards[0].path}') GROUP BY 1 ORDER BY 1`,
  );
  connection.closeSync();
  expect(reader.getRows()).toEqual([
    [1, 50, 1, 1],
    [2, 100, 5, 5],
  ]);
  expect((await textsOf(shards.map(({ path }) => path))).size).toBe(150);
});
