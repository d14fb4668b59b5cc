import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { expect, it } from 'vitest';
import { curate } from '../src/engine/curate.js';
import { verifyCuration } from '../src/engine/verify.js';
import type { CurationPlanInput } from '../src/plan/schema.js';
import { code, prose } from './corpus.js';
import { hashFolder } from './folder-hash.js';

it('solves each training stage into whole repeats under its cap, budget and limits', async () => {
  const root = await mkdtemp(join(tmpdir(), 'stages-'));
  try {
    const jsonl = (texts: readonly string[]) => texts.map((text) => `${JSON.stringify({ text })}\n`).join('');
    const pages = Array.from({ length: 200 }, (_, index) => prose(index, 5 + (index % 40)));
    await writeFile(join(root, 'pages.jsonl'), jsonl(pages));
    await writeFile(join(root, 'code.jsonl'), jsonl(Array.from({ length: 200 }, (_, index) => code(index))));
    const plan: CurationPlanInput = {
      sources: [
        { type: 'jsonl', name: 'pages', path: join(root, 'pages.jsonl'), domain: 'other' },
        { type: 'jsonl', name: 'code', path: join(root, 'code.jsonl'), domain: 'code' },
      ],
      filters: [{ filter: 'length' }],
      output: { shardBytes: 100_000 },
      mixture: {
        bytesPerToken: { code: 3, other: 5 },
        stages: [
          { name: 'broad', targets: { code: 0.4, other: 0.6 }, budgetTokens: 200_000 },
          {
            name: 'anneal',
            targets: { code: 0.5, other: 0.5 },
            budgetTokens: 60_000,
            minimumQuality: 0.6,
            maximumRepeats: 2,
          },
          { name: 'long', targets: { other: 1 }, budgetTokens: 10_000_000, minimumTokens: 600, maximumRepeats: 3 },
        ],
      },
    };
    const result = await curate(plan, { outputFolder: join(root, 'out'), workers: 1 });
    await verifyCuration(join(root, 'out'));
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    const shards = result.shards.map(
      ({ path }, shard) => `SELECT *, ${shard} AS shard, row_number() OVER () - 1 AS row FROM read_parquet('${path}')`,
    );
    await connection.run(`CREATE TABLE documents AS ${shards.join(' UNION ALL ')}`);
    const tokens = "strlen(text) / CASE domain WHEN 'code' THEN 3 ELSE 5 END";
    const stage = async (name: string) => {
      const reader = await connection.runAndReadAll(`
        SELECT domain, sum(repeats * ${tokens})::DOUBLE AS tokens, max(repeats)::INTEGER AS most, min(quality) AS quality, min(${tokens}) AS shortest
        FROM documents JOIN read_parquet('${result.mixtures[name]}') USING (shard, row) GROUP BY domain ORDER BY domain`);
      return reader.getRowObjects().map((row) => ({ ...row, tokens: Number(row.tokens) }));
    };
    const [broadCode, broadOther] = await stage('broad');
    expect(broadCode.tokens + broadOther.tokens).toBeGreaterThan(190_000);
    expect(broadCode.tokens + broadOther.tokens).toBeLessThan(210_000);
    expect(broadCode.tokens / (broadCode.tokens + broadOther.tokens)).toBeCloseTo(0.4, 1);
    for (const row of await stage('anneal')) {
      expect(row).toMatchObject({ most: expect.toSatisfy((most: number) => most <= 2) as number });
      expect(Number((row as unknown as { quality: number }).quality)).toBeGreaterThanOrEqual(0.6);
    }
    const [long] = await stage('long');
    // The cap binds: every long document three times, and the budget is out of reach.
    expect(long).toMatchObject({ domain: 'other', most: 3 });
    expect(Number((long as unknown as { shortest: number }).shortest)).toBeGreaterThanOrEqual(600);
    const report = result.report.stages.find(({ name }) => name === 'long')!;
    expect(report.limitingDomain).toBe('other');
    expect(Math.abs(report.tokens - long.tokens)).toBeLessThan(5);
    connection.closeSync();
    await curate(plan, { outputFolder: join(root, 'again'), workers: 3 });
    expect(await hashFolder(join(root, 'again'))).toEqual(await hashFolder(join(root, 'out')));
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
