/** Input that is broken, enormous or hostile, through whole curations. `bad-input/cases.ts` is the table. */

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DuckDBInstance } from '@duckdb/node-api';
import { curate } from '../src/engine/curate.js';
import { openWorkerDatabase } from '../src/engine/document-store.js';
import { extractTask } from '../src/engine/extract-task.js';
import { DocumentProcessor } from '../src/engine/process-document.js';
import { pieceName } from '../src/engine/work-folder.js';
import { parseCurationPlan } from '../src/plan/schema.js';
import { takeInventory } from '../src/sources/inventory.js';
import type { CurationPlanInput } from '../src/plan/schema.js';
import type { CurationReport } from '../src/report/types.js';
import type { BadInputCase } from './bad-input/bad-input-case.js';
import type { LargeReads } from '../src/sources/parquet.js';
import { badInputCases } from './bad-input/cases.js';
import { page, rowsOf } from './bad-input/files.js';
import { code, prose } from './corpus.js';
import { hashFolder } from './folder-hash.js';

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

/**
 * Some cases at once, each a source of its own. Nothing is dropped but what the table says. All is taken for code, whose language needs no
 * n-grams to be loaded: there are many runs.
 */
function planOf(folder: string, cases: readonly BadInputCase[], onBadInput: 'skip' | 'fail'): CurationPlanInput {
  return {
    sources: cases.map(({ name, source }) => ({ domain: 'code', ...source, name, path: join(folder, name) }) as never),
    filters: [
      {
        filter: 'gopherQuality',
        minimumWords: 1,
        maximumWords: 1e9,
        minimumMeanWordLength: 1.5,
        maximumMeanWordLength: 100_000,
        maximumSymbolsPerWord: 1e9,
        maximumBulletLines: 1,
        maximumEllipsisLines: 1,
        minimumAlphabeticWords: 0,
        minimumStopWords: 0,
      },
    ],
    deduplication: { exact: false, near: false },
    heldout: { fraction: 0 },
    output: { examples: 50 },
    onBadInput,
  };
}

async function writeCases(folder: string, cases: readonly BadInputCase[]): Promise<void> {
  for (const { name, write } of cases) {
    await mkdir(join(folder, name), { recursive: true });
    await write(join(folder, name));
  }
}

/** What happens to the input after its inventory was taken: the first news comes before anything is read. */
function meanwhile(folder: string, cases: readonly BadInputCase[]): () => void {
  let isFirst = true;
  return () => {
    if (isFirst) for (const { name, meanwhile: change } of cases) change?.(join(folder, name));
    isFirst = false;
  };
}

/** `<filter>: <reason>` → documents. */
const dropsIn = ({ drops }: CurationReport) =>
  Object.fromEntries(drops.map(({ filter, reason, documents }) => [`${filter}: ${reason}`, documents]));
function dropsOf(cases: readonly BadInputCase[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const { drops } of cases) {
    for (const [step, documents] of Object.entries(drops ?? {})) total[step] = (total[step] ?? 0) + documents;
  }
  return total;
}

const placesOf = (entries: readonly string[], source: string) =>
  entries.filter((entry) => entry.startsWith(`${source}:`)).map((entry) => entry.slice(source.length + 1));

function expectRefusal(error: unknown, { name, bad }: BadInputCase): void {
  expect(error, name).toMatchObject({
    name: 'CurationError',
    code: 'INPUT_INVALID',
    remedy: expect.stringMatching(/^Repair/) as string,
  });
  const { value, message, remedy } = error as { value: string; message: string; remedy: string };
  const place = value.slice(name.length + 1);
  expect(Object.keys(bad), value).toContain(place);
  const reason = message.slice(`${value}: `.length, -`. ${remedy}`.length);
  expect(`${value}: ${reason}. ${remedy}`).toBe(message);
  expect(reason, value).toEqual(typeof bad[place] === 'string' ? bad[place] : expect.stringMatching(bad[place]));
}

/** The tasks of one case as a worker does them, one after another. The results, which hold the hashes of all that they wrote. */
async function extractCase(folder: string, entry: BadInputCase, output: string, database: DuckDBInstance) {
  const plan = parseCurationPlan(planOf(folder, [entry], 'fail'));
  const tasks = await takeInventory(plan, { downloads: '', outputFolder: output });
  if (entry.meanwhile !== undefined && !existsSync(output)) entry.meanwhile(join(folder, entry.name));
  await mkdir(output, { recursive: true });
  const processor = await DocumentProcessor.create(plan);
  const largeReads: LargeReads = { scratch: output, run: (_, read) => read() };
  for (const task of tasks) await extractTask(plan, task, output, database, largeReads, processor);
  return Promise.all(tasks.map(({ task }) => readFile(join(output, `${pieceName(task)}.json`), 'utf8')));
}

const counted = badInputCases.filter(({ bad }) => Object.keys(bad).length === 0);
const failing = badInputCases.filter(({ bad }) => Object.keys(bad).length > 0);

describe('the table of bad input', () => {
  let input: string;
  beforeAll(async () => {
    input = join(root, 'input');
    await writeCases(input, badInputCases);
  });

  it('skip: names each with its reason, keeps every neighbour, gives the same bytes with three workers', async () => {
    const plan = planOf(input, badInputCases, 'skip');
    const run = async (workers: number) => {
      const outputFolder = join(root, `skip-${workers}`);
      const result = await curate(plan, { outputFolder, workers, onProgress: meanwhile(input, badInputCases) });
      for (const { name, meanwhile: change, repair } of badInputCases) {
        if (change !== undefined) await repair(join(input, name));
      }
      return result;
    };
    const { report, shards } = await run(1);
    const ids = (
      await rowsOf(
        shards.map(({ path }) => path),
        'id',
      )
    ).map(String);
    for (const { name, bad, kept, drops } of badInputCases) {
      const named = report.badInputs.examples.filter(({ location }) => location.startsWith(`${name}:`));
      expect(
        placesOf(
          named.map(({ location }) => location),
          name,
        ).sort(),
        name,
      ).toEqual(Object.keys(bad).sort());
      for (const { location, reason } of named) {
        const wanted = bad[location.slice(name.length + 1)];
        expect(reason, location).toEqual(typeof wanted === 'string' ? wanted : expect.stringMatching(wanted));
      }
      expect(placesOf(ids, name).sort(), name).toEqual([...kept].sort());
      for (const [step, documents] of Object.entries(drops ?? {})) {
        const entry = report.drops.find(({ filter, reason }) => `${filter}: ${reason}` === step);
        // All of them are among the examples, or too many are dropped for the same reason.
        if (entry !== undefined && entry.documents > entry.examples.length) continue;
        expect(placesOf(entry?.examples.map(({ id }) => id) ?? [], name), `${name}, ${step}`).toHaveLength(documents);
      }
    }
    const total = badInputCases.reduce((sum, { bad }) => sum + Object.keys(bad).length, 0);
    expect(report.badInputs.counts.reduce((sum, { count }) => sum + count, 0)).toBe(total);
    expect(dropsIn(report)).toEqual(dropsOf(badInputCases));
    expect(JSON.stringify(report.badInputs)).not.toContain(root);
    await run(3);
    expect(await hashFolder(join(root, 'skip-3'))).toEqual(await hashFolder(join(root, 'skip-1')));
  });

  it('fail: stops at each with file, position and remedy, with nothing half-written; repaired, it gives what clean input gives', async () => {
    const database = await openWorkerDatabase(join(root, 'spill'), 256);
    const openFiles = () => (existsSync('/proc/self/fd') ? readdirSync('/proc/self/fd').length : 0);
    const openBefore = openFiles();
    for (const entry of failing) {
      const output = join(root, 'tasks', entry.name);
      const error = await extractCase(input, entry, output, database).catch((reason: unknown) => reason);
      expectRefusal(error, entry);
      const left = await readdir(output);
      expect(left.filter((file) => file.includes('.partial'))).toEqual([]);
      // What is whole counts, and only that: the result of the task that failed is not there.
      expect(left.filter((file) => file.endsWith('.json')).length).toBeLessThan(Object.keys(entry.bad).length + 2);
      await entry.repair(join(input, entry.name));
      const repaired = await extractCase(input, entry, output, database);
      await mkdir(`${output}-clean`);
      expect(repaired, entry.name).toEqual(await extractCase(input, entry, `${output}-clean`, database));
    }
    // No file is left open: not one for each case, whatever else the process opened meanwhile.
    expect(openFiles() - openBefore).toBeLessThan(5);
    database.closeSync();
    const { report } = await curate(planOf(input, counted, 'fail'), {
      outputFolder: join(root, 'counted'),
      workers: 1,
    });
    expect(dropsIn(report)).toEqual(dropsOf(counted));
  });

  it.concurrent(
    'fail: goes on in the same folder once the input is repaired, and ends with the bytes of clean input',
    async () => {
      const folder = join(root, 'ends');
      const names = [
        'gzip-cut',
        'parquet-rows',
        'warc-long',
        'html-files',
        'vanish-text',
        'vanish-parquet',
        'not-json',
      ];
      const cases = failing.filter(({ name }) => names.includes(name));
      await writeCases(folder, cases);
      const plan = planOf(folder, cases, 'fail');
      const outputFolder = join(root, 'ends-out');
      // One worker meets the cases in order: each is repaired when it stopped the run, and the next one stops the next run.
      for (const entry of cases) {
        const running = curate(plan, { outputFolder, workers: 1, onProgress: meanwhile(folder, [entry]) });
        expectRefusal(await running.catch((reason: unknown) => reason), entry);
        expect((await readdir(outputFolder)).sort()).toEqual(['.work', 'plan.json']);
        const left = await readdir(join(outputFolder, '.work'), { recursive: true });
        expect(left.filter((file) => file.includes('.partial'))).toEqual([]);
        await entry.repair(join(folder, entry.name));
      }
      const { shards } = await curate(plan, { outputFolder, workers: 1 });
      expect(shards.length).toBeGreaterThan(0);
      await curate(plan, { outputFolder: join(root, 'ends-clean'), workers: 2 });
      expect(await hashFolder(outputFolder)).toEqual(await hashFolder(join(root, 'ends-clean')));
    },
  );

  it.runIf(existsSync('/proc/self/mem'))(
    'names a file that the system does not give',
    { concurrent: true },
    async () => {
      // A file of this process's memory, whose first byte cannot be read: an error of the disk, for anyone.
      const plan: CurationPlanInput = { sources: [{ type: 'jsonl', name: 'disk', path: '/proc/self/mem' }] };
      const { report } = await curate(plan, { outputFolder: join(root, 'disk'), workers: 1 });
      expect(report.badInputs.examples).toEqual([{ location: 'disk:mem', reason: 'cannot be read (EIO)' }]);
    },
  );
});

describe.concurrent('bad input', () => {
  it('names a line of 100 MB, 300,000 empty documents, a repeated character and bombs of 8 MB, in little memory', async () => {
    const folder = join(root, 'huge');
    await mkdir(folder);
    // Members of gzip may follow each other: a hundred megabytes in a hundred kilobytes.
    const letters = gzipSync(Buffer.alloc(10_000_000, 'x'));
    const line = [gzipSync('{"text": "'), ...Array.from({ length: 10 }, () => letters), gzipSync(`"}\n${good(3)}`)];
    await writeFile(join(folder, 'line.jsonl.gz'), Buffer.concat(line));
    const empties = gzipSync('{"text": ""}\n'.repeat(100_000));
    await writeFile(join(folder, 'empty.jsonl.gz'), Buffer.concat(Array.from({ length: 3 }, () => empties)));
    await writeFile(
      join(folder, 'letter.jsonl'),
      `${JSON.stringify({ text: 'a'.repeat(900_000) })}\n${JSON.stringify({ text: 'a b '.repeat(200_000) })}\n`,
    );
    // What was left in memory of every match and of every piece was many times the text.
    await writeFile(join(folder, 'returns.jsonl'), `${JSON.stringify({ text: '\r'.repeat(4_190_000) })}\n`);
    await writeFile(join(folder, 'a.warc'), await page('<'.repeat(8_380_000)));
    const { report, mebibytes } = await runApart(
      {
        sources: [
          { type: 'jsonl', name: 's', path: folder },
          { type: 'warc', name: 'w', path: folder },
        ],
      },
      join(root, 'huge-out'),
    );
    expect(report.badInputs.counts).toEqual([{ reason: 'line longer than 8388608 bytes', count: 1 }]);
    expect(report.badInputs.examples[0].location).toBe('s:line.jsonl.gz#1');
    expect(report.funnel[0].documents).toBe(300_007);
    const dropped = (wanted: string) => report.drops.find(({ reason }) => reason === wanted)?.documents;
    expect(dropped('empty')).toBe(300_001);
    expect(dropped('too long')).toBe(1);
    expect(report.funnel.at(-1)!.documents).toBeLessThanOrEqual(3);
    expect(mebibytes).toBeLessThan(1024);
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
