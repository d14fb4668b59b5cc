/** Input that is broken, enormous or hostile, through whole curations in processes of their own. */

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { curate } from '../src/engine/curate.js';
import type { CurationPlanInput } from '../src/plan/schema.js';
import type { CurationReport } from '../src/report/types.js';
import { code, prose } from './corpus.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'bad-input-'));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

/** Runs the built package apart; gives the report, and the largest memory the process had in MiB. */
async function runApart(
  plan: CurationPlanInput,
  outputFolder: string,
): Promise<{ report: CurationReport; mebibytes: number }> {
  const script = `
    import { curate } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
    await curate(${JSON.stringify(plan)}, { outputFolder: ${JSON.stringify(outputFolder)}, workers: 1 });
    console.log(process.resourceUsage().maxRSS / 1024);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  const exit = await new Promise((resolve) => child.on('close', resolve));
  expect(exit).toBe(0);
  return {
    report: JSON.parse(await readFile(join(outputFolder, 'report.json'), 'utf8')) as CurationReport,
    mebibytes: Number(output),
  };
}

const good = (count: number) =>
  Array.from({ length: count }, (_, index) => `${JSON.stringify({ text: prose(index, 8) })}\n`).join('');

describe('bad input', () => {
  it('names a line of 500 MB, a million empty documents and a repeated character, in little memory', async () => {
    const folder = join(root, 'huge');
    await mkdir(folder);
    // Members of gzip may follow each other: half a gigabyte in half a megabyte.
    const letters = gzipSync(Buffer.alloc(10_000_000, 'x'));
    const line = [gzipSync('{"text": "'), ...Array.from({ length: 50 }, () => letters), gzipSync(`"}\n${good(3)}`)];
    await writeFile(join(folder, 'line.jsonl.gz'), Buffer.concat(line));
    const empties = gzipSync('{"text": ""}\n'.repeat(100_000));
    await writeFile(join(folder, 'empty.jsonl.gz'), Buffer.concat(Array.from({ length: 10 }, () => empties)));
    await writeFile(
      join(folder, 'letter.jsonl'),
      `${JSON.stringify({ text: 'a'.repeat(900_000) })}\n${JSON.stringify({ text: 'a b '.repeat(200_000) })}\n`,
    );
    const { report, mebibytes } = await runApart(
      { sources: [{ type: 'jsonl', name: 's', path: folder }] },
      join(root, 'huge-out'),
    );
    expect(report.badInputs.counts).toEqual([{ reason: 'line longer than 8388608 bytes', count: 1 }]);
    expect(report.badInputs.examples[0].location).toBe('s:line.jsonl.gz#1');
    expect(report.funnel[0].documents).toBe(1_000_005);
    expect(report.drops.find(({ reason }) => reason === 'empty')?.documents).toBe(1_000_000);
    expect(report.funnel.at(-1)!.documents + report.funnel[0].documents - 1_000_005).toBeLessThanOrEqual(3);
    expect(mebibytes).toBeLessThan(1024);
  });

  it('names Parquet files that are cut, of another shape, or no Parquet at all', async () => {
    const folder = join(root, 'parquet');
    await mkdir(folder);
    const connection = await (await DuckDBInstance.create(':memory:')).connect();
    await writeFile(join(root, 'rows.jsonl'), good(500));
    const rows = `read_json('${join(root, 'rows.jsonl')}')`;
    await connection.run(
      `COPY (SELECT text FROM ${rows}) TO '${join(folder, 'a-good.parquet')}' (FORMAT parquet, ROW_GROUP_SIZE 100)`,
    );
    await connection.run(`COPY (SELECT 5 AS text) TO '${join(folder, 'b-number.parquet')}' (FORMAT parquet)`);
    await connection.run(
      `COPY (SELECT text AS body FROM ${rows}) TO '${join(folder, 'c-other.parquet')}' (FORMAT parquet)`,
    );
    await connection.run(`COPY (SELECT NULL::VARCHAR AS text) TO '${join(folder, 'd-null.parquet')}' (FORMAT parquet)`);
    connection.closeSync();
    const bytes = await readFile(join(folder, 'a-good.parquet'));
    await writeFile(join(folder, 'e-cut.parquet'), bytes.subarray(0, bytes.length / 2));
    // The footer is whole, the data is not.
    const damaged = Buffer.from(bytes);
    damaged.fill(0xaa, 4000, bytes.length - 3000);
    await writeFile(join(folder, 'f-damaged.parquet'), damaged);
    await writeFile(join(folder, 'g-text.parquet'), 'no parquet');
    const plan: CurationPlanInput = {
      sources: [{ type: 'parquet', name: 'p', path: folder }],
      heldout: { fraction: 0 },
    };
    const { report } = await curate(plan, { outputFolder: join(root, 'parquet-out'), workers: 2 });
    const named = Object.fromEntries(report.badInputs.examples.map(({ location, reason }) => [location, reason]));
    expect(named).toEqual({
      'p:b-number.parquet': 'column "text" is INTEGER',
      'p:c-other.parquet': 'column "text" is missing',
      'p:d-null.parquet#1': 'column "text" is null',
      'p:e-cut.parquet': expect.stringContaining('not readable as Parquet') as string,
      'p:f-damaged.parquet': expect.stringContaining('damaged after row') as string,
      'p:g-text.parquet': expect.stringContaining('not readable as Parquet') as string,
    });
    expect(JSON.stringify(named)).not.toContain(root);
    for (const file of ['d-null', 'f-damaged']) {
      const one: CurationPlanInput = {
        sources: [{ type: 'parquet', name: 'p', path: join(folder, `${file}.parquet`) }],
        onBadInput: 'fail',
      };
      const output = join(root, `fail-${file}`);
      await expect(curate(one, { outputFolder: output, workers: 1 }), file).rejects.toMatchObject({
        code: 'INPUT_INVALID',
        message: expect.stringContaining(`p:${file}.parquet`) as string,
      });
      expect(await readdir(output)).not.toContain('manifest.json');
    }
  });

  it('survives text made to be slow', async () => {
    const size = 100_000;
    const hostile = [
      'a'.repeat(size),
      '1'.repeat(size) + 'x',
      '1'.repeat(480) + 'x\n'.repeat(200),
      `"${'\\"'.repeat(size)}`,
      `${' '.repeat(size)}x`,
      '. '.repeat(size / 2) + 'x',
      '((((('.repeat(size / 5),
      'a@'.repeat(size / 2),
      `${'a.'.repeat(size / 2)}@`,
      '$'.repeat(size),
      '\\begin{'.repeat(size / 7),
      '-----BEGIN PRIVATE KEY-----'.repeat(size / 27),
      '1.1.1.1.'.repeat(size / 8),
      'ω'.repeat(size) + 'a',
      '\u0301'.repeat(size),
      'Ã©'.repeat(size / 2),
      '```'.repeat(size / 3),
      '<'.repeat(size),
      '- \n'.repeat(size / 3),
      code(1).repeat(50),
    ];
    await writeFile(join(root, 'hostile.jsonl'), hostile.map((text) => `${JSON.stringify({ text })}\n`).join(''));
    const plan: CurationPlanInput = {
      sources: (['code', 'documentation', 'maths'] as const).map((domain) => ({
        type: 'jsonl',
        name: domain,
        path: join(root, 'hostile.jsonl'),
        domain,
      })),
      // Thresholds that let everything through, so that every rule sees every text.
      filters: [
        {
          filter: 'dataBlob',
          maximumEncodedRun: 1e9,
          maximumEncodedShare: 1,
          maximumDigits: 1,
          maximumLiteralLines: 1,
        },
        { filter: 'licenseText' },
        { filter: 'generatedCode' },
        { filter: 'personalData', phoneNumbers: true },
        { filter: 'fineweb', minimumPunctuatedLines: 0, maximumDuplicateLineCharacters: 1, maximumShortLines: 1 },
        {
          filter: 'c4',
          requireTerminalPunctuation: false,
          minimumSentences: 0,
          minimumWordsPerLine: 0,
          dropCurlyBrackets: false,
        },
        { filter: 'minifiedCode' },
        { filter: 'gopherQuality' },
        { filter: 'gopherRepetition' },
      ],
    };
    const { report } = await curate(plan, { outputFolder: join(root, 'hostile-out'), workers: 2 });
    expect(report.funnel[0].documents).toBe(3 * hostile.length);
  });

  it('never reads its own output, and no name leads out of the folder', async () => {
    const folder = join(root, 'inside');
    await mkdir(folder);
    await writeFile(join(folder, 'a.md'), prose(1, 20));
    const plan: CurationPlanInput = {
      sources: [{ type: 'folder', name: 'f', path: folder }],
      heldout: { fraction: 0 },
    };
    const { report } = await curate(plan, { outputFolder: join(folder, 'out'), workers: 1 });
    expect(report.funnel[0].documents).toBe(1);
    for (const name of ['../up', 'a/b', '', '.', '..']) {
      const escaping = { sources: [{ type: 'folder' as const, name, path: folder }] };
      await expect(curate(escaping, { outputFolder: join(root, 'escape') })).rejects.toMatchObject({
        code: 'PLAN_INVALID',
      });
      const stage = { ...plan, mixture: { stages: [{ name, budgetTokens: 5 }] } };
      await expect(curate(stage, { outputFolder: join(root, 'escape') })).rejects.toMatchObject({
        code: 'PLAN_INVALID',
      });
    }
    expect(await readdir(root)).not.toContain('escape');
  });
});
