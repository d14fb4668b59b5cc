/** Trained classifiers and decontamination inside a curation, on made-up text and, where it is present, on real data. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LabelledText } from '../src/classifier/train.js';
import { trainTextClassifier } from '../src/classifier/train.js';
import { curate } from '../src/engine/curate.js';
import type { CurationPlanInput } from '../src/plan/schema.js';
import { code, prose } from './corpus.js';
import { sharedData } from './shared-data.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'classification-'));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

const jsonl = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');

async function read(paths: readonly string[]): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const reader = await connection.runAndReadAll(
    `SELECT * FROM read_parquet([${paths.map((path) => `'${path}'`).join(', ')}])`,
  );
  connection.closeSync();
  return reader.getRowObjects();
}

describe('a curation with classifiers and evaluation sets', () => {
  it('takes domains and quality from the models and drops what shares text with the evaluation', async () => {
    const examples: LabelledText[] = Array.from({ length: 200 }, (_, index) =>
      index % 2 === 0 ? { text: prose(index, 10), label: 'prose' } : { text: code(index), label: 'programs' },
    );
    const domains = join(root, 'domains.classifier');
    const quality = join(root, 'quality.classifier');
    const domainModel = await trainTextClassifier({ examples, buckets: 2 ** 14 });
    await domainModel.classifier.save(domains);
    const graded = Array.from({ length: 200 }, (_, index) =>
      index % 2 === 0
        ? { text: prose(index, 10), label: 'high' }
        : { text: `click here buy now ${prose(index, 5).toUpperCase()}`, label: 'low' },
    );
    const qualityModel = await trainTextClassifier({ examples: graded, buckets: 2 ** 14 });
    await qualityModel.classifier.save(quality);

    const secret = 'Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.';
    const exam = join(root, 'exam.jsonl');
    await writeFile(exam, jsonl([{ question: secret }, { question: 'Short one?' }]));
    const input = join(root, 'input.jsonl');
    await writeFile(
      input,
      jsonl([
        ...Array.from({ length: 40 }, (_, index) => ({ text: prose(5000 + index, 10) })),
        ...Array.from({ length: 40 }, (_, index) => ({ text: code(5000 + index) })),
        ...Array.from({ length: 10 }, (_, index) => ({
          text: `click here buy now ${prose(7000 + index, 5).toUpperCase()}`,
        })),
        { text: `${prose(6000, 5)} ${secret.toUpperCase()} ${prose(6001, 5)}` },
      ]),
    );
    const plan: CurationPlanInput = {
      sources: [{ type: 'jsonl', name: 'mixed', path: input }],
      filters: [{ filter: 'length' }],
      domains: { method: 'classifier', model: domains },
      quality: [{ method: 'classifier', model: quality, domains: ['prose'] }],
      decontamination: { sets: [{ name: 'exam', path: exam, fields: ['question'] }] },
      heldout: { fraction: 0 },
    };
    const output = join(root, 'output');
    const { shards, report } = await curate(plan, { outputFolder: output, workers: 2 });
    const rows = await read(shards.map(({ path }) => path));
    const where = (low: number, high: number) =>
      rows.filter(({ id }) => {
        const line = Number(String(id).split('#')[1]);
        return line >= low && line <= high;
      });
    expect(where(1, 40).filter(({ domain }) => domain === 'prose').length).toBeGreaterThanOrEqual(38);
    expect(where(41, 80).filter(({ domain }) => domain === 'programs').length).toBeGreaterThanOrEqual(38);
    const mean = (list: Record<string, unknown>[]) =>
      list.reduce((sum, row) => sum + Number(row.quality), 0) / list.length;
    expect(mean(where(1, 40))).toBeGreaterThan(0.8);
    expect(mean(where(81, 90))).toBeLessThan(0.2);
    expect(where(91, 91)).toEqual([]);
    expect(report.decontamination).toEqual([{ set: 'exam', checkedItems: 1, uncheckedItems: 1, documents: 1 }]);
    const removed = JSON.parse(await readFile(join(output, 'decontamination.jsonl'), 'utf8')) as object;
    expect(removed).toMatchObject({ id: 'mixed:input.jsonl#91', set: 'exam', item: 1 });

    await writeFile(exam, jsonl([{ question: `${secret} How many?` }]));
    await expect(curate(plan, { outputFolder: output })).rejects.toMatchObject({ code: 'INPUT_CHANGED' });
    await writeFile(exam, '{"question": 5}\n');
    await expect(curate(plan, { outputFolder: join(root, 'other') })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('line 1 has no text in "question"') as string,
    });
    await expect(
      curate(
        { ...plan, quality: [{ method: 'classifier', model: quality, label: 'best' }] },
        { outputFolder: join(root, 'label') },
      ),
    ).rejects.toThrow(/no label "best".*high, low/);
  });

  it('finds every GSM8K question and HumanEval prompt hidden in real text', async () => {
    const gsm8k = sharedData('gsm8k/test.jsonl');
    const humanEval = sharedData('humaneval/HumanEval.jsonl.gz');
    const essays = sharedData('essays/essays.jsonl');
    if (gsm8k === undefined || humanEval === undefined || essays === undefined) return;
    const lines = (text: string) =>
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, string>);
    const clean = lines(await readFile(essays, 'utf8'));
    const words = (text: string) => text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0;
    const questions = lines(await readFile(gsm8k, 'utf8')).filter(({ question }) => words(question) >= 13);
    const prompts = lines(gunzipSync(await readFile(humanEval)).toString()).filter(({ prompt }) => words(prompt) >= 13);
    const input = join(root, 'hidden.jsonl');
    const hidden = [...questions.map(({ question }) => question), ...prompts.map(({ prompt }) => prompt)];
    await writeFile(
      input,
      jsonl([
        ...clean.map(({ text }) => ({ text })),
        ...hidden.map((text, index) => ({
          text: `${prose(index, 5)}\n${text.replaceAll('\n', '  \n')}\n${prose(index + 9999, 5)}`,
        })),
      ]),
    );
    const { report } = await curate(
      {
        sources: [{ type: 'jsonl', name: 'hidden', path: input }],
        filters: [{ filter: 'length' }],
        decontamination: {
          sets: [
            { name: 'gsm8k', path: gsm8k, fields: ['question'] },
            { name: 'humaneval', path: humanEval, fields: ['prompt'] },
          ],
        },
      },
      { outputFolder: join(root, 'hidden'), workers: 2 },
    );
    expect(report.decontamination.map(({ documents }) => documents).reduce((sum, count) => sum + count)).toBe(
      hidden.length,
    );
    const removed = lines(await readFile(join(root, 'hidden', 'decontamination.jsonl'), 'utf8'));
    const innocent = removed.filter(({ id }) => Number(id.split('#')[1]) <= clean.length);
    expect(innocent).toEqual([]);
  });

  it('separates real code, maths and essays', async () => {
    const files = { code: 'corpus/code.jsonl.gz', maths: 'corpus/math.jsonl.gz', essays: 'essays/essays.jsonl' };
    const examples: LabelledText[] = [];
    for (const [label, name] of Object.entries(files)) {
      const path = sharedData(name);
      if (path === undefined) return;
      const bytes = await readFile(path);
      const text = name.endsWith('.gz') ? gunzipSync(bytes).toString() : bytes.toString();
      const texts = text
        .trim()
        .split('\n')
        .slice(0, 400)
        .map((line) => (JSON.parse(line) as { text: string }).text);
      // Long chapters are cut into pages, so that each kind has hundreds of examples.
      for (const whole of texts)
        for (let at = 0; at < Math.min(whole.length, 15_000); at += 3000)
          examples.push({ text: whole.slice(at, at + 3000), label });
    }
    const { report } = await trainTextClassifier({ examples, buckets: 2 ** 16, epochs: 4 });
    expect(report.ensemble.accuracy).toBeGreaterThan(0.97);
    expect(report.ensemble.calibrationError).toBeLessThan(0.05);
  });
});
