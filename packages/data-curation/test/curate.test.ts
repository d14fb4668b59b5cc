import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { curate } from '../src/engine/curate.js';
import { verifyCuration } from '../src/engine/verify.js';
import type { CurateResult } from '../src/engine/types.js';
import { CurationError } from '../src/errors.js';
import type { CurationPlanInput } from '../src/plan/schema.js';
import { writeCorpus } from './corpus.js';
import { hashFolder } from './folder-hash.js';

let root: string;
let plan: CurationPlanInput;
/** Of one worker; the others are measured by it. */
let result: CurateResult;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'curation-'));
  const { files, lines } = await writeCorpus(join(root, 'corpus'));
  plan = {
    seed: 3,
    sources: [
      { type: 'folder', name: 'files', path: files },
      { type: 'jsonl', name: 'lines', path: lines, domain: 'documentation' },
      { type: 'mathProblems', name: 'maths', documents: 600 },
    ],
    heldout: { fraction: 0.05 },
    mixture: { targets: { code: 0.3, documentation: 0.5, maths: 0.2 } },
    output: { shardBytes: 250_000 },
  };
  result = await curate(plan, { outputFolder: join(root, 'one'), workers: 1 });
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

async function rowsOf(paths: readonly string[]): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const list = paths.map((path) => `'${path}'`).join(', ');
  const reader = await connection.runAndReadAll(`SELECT * FROM read_parquet([${list}])`);
  connection.closeSync();
  return reader.getRowObjects();
}

describe.concurrent('curate', () => {
  it('writes shards, held-out documents, a manifest and reports that agree with each other', async () => {
    const rows = await rowsOf(result.shards.map((shard) => shard.path));
    expect(Object.keys(rows[0])).toEqual([
      'id',
      'text',
      'source',
      'domain',
      'language',
      'quality',
      'duplicates',
      'weight',
    ]);
    expect(result.shards.length).toBeGreaterThan(3);
    const heldout = await rowsOf(result.heldout.map((shard) => shard.path));
    const ids = rows.map((row) => row.id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(heldout.length).toBeGreaterThan(20);
    const texts = new Set(rows.map((row) => row.text));
    expect(heldout.filter((row) => texts.has(row.text))).toEqual([]);
    expect(result.report.funnel.at(-1)).toMatchObject({ step: 'training', documents: rows.length });

    // The guide stands in 10 projects, word for word and with one sentence added: one document for 20.
    const guides = [...rows, ...heldout].filter((row) => String(row.id).includes('guide'));
    expect(guides).toHaveLength(1);
    expect(guides[0].duplicates).toBe(20);

    const reasons = Object.fromEntries(
      result.report.drops.map((drop) => [`${drop.filter}: ${drop.reason}`, drop.documents]),
    );
    expect(reasons).toMatchObject({
      'licenseText: licence file name': 10,
      'generatedCode: says it is generated': 1,
      'minifiedCode: very long line': 1,
      'decode: binary data': 1,
      'size: file too large': 1,
    });
    expect(result.report.changes).toContainEqual({
      filter: 'encoding repair',
      change: 'Windows-1252 decoded',
      documents: 1,
    });
    expect(result.report.badInputs.counts.map((entry) => entry.reason).sort()).toEqual([
      expect.stringContaining('damaged or truncated gzip'),
      'field "text" is missing',
      'field "text" is not a string',
      'not JSON',
    ]);
    expect(result.report.licenses.find((entry) => entry.license === 'GPL-3.0')?.documents).toBeGreaterThan(5);

    // Weighted bytes meet the targets.
    const weighted = new Map<string, number>();
    for (const row of rows) {
      const bytes = Buffer.byteLength(String(row.text)) * Number(row.weight);
      weighted.set(String(row.domain), (weighted.get(String(row.domain)) ?? 0) + bytes);
    }
    const total = [...weighted.values()].reduce((sum, bytes) => sum + bytes, 0);
    expect(weighted.get('code')! / total).toBeCloseTo(0.3, 3);
    expect(weighted.get('documentation')! / total).toBeCloseTo(0.5, 3);
    expect(weighted.get('maths')! / total).toBeCloseTo(0.2, 3);
    expect(Math.max(...rows.map((row) => Number(row.weight)))).toBeLessThanOrEqual(8);

    const manifest = await verifyCuration(join(root, 'one'));
    expect(manifest.documents).toBe(rows.length);
    const html = await readFile(result.reportHtmlPath, 'utf8');
    expect(html).toContain('licence file name');
    expect(html).not.toMatch(/<script|src=|href=/);
  });

  it('gives the same bytes with three workers, in a folder whose name is a pattern', async () => {
    const outputFolder = join(root, 'three [1]*');
    await curate(plan, { outputFolder, workers: 3 });
    expect(await hashFolder(outputFolder)).toEqual(await hashFolder(join(root, 'one')));
  });

  it('gives the same bytes after being killed, and reports progress', async () => {
    const output = join(root, 'killed');
    await runAndKill(plan, output, 5);
    expect(await readFile(join(output, 'manifest.json')).catch(() => 'none')).toBe('none');
    const events: string[] = [];
    await curate(plan, { outputFolder: output, workers: 2, onProgress: (event) => events.push(event.task) });
    expect(await hashFolder(output)).toEqual(await hashFolder(join(root, 'one')));
    expect([...new Set(events)]).toEqual(['read and filter', 'find duplicates', 'write shards']);
  });

  it('continues after an abort', async () => {
    const output = join(root, 'aborted');
    const controller = new AbortController();
    const running = curate(plan, {
      outputFolder: output,
      workers: 2,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    await curate(plan, { outputFolder: output, workers: 2 });
    expect(await hashFolder(output)).toEqual(await hashFolder(join(root, 'one')));
  });

  it('returns a finished output without doing it again', async () => {
    const again = await curate(plan, { outputFolder: join(root, 'one'), workers: 1 });
    expect(again.timings).toEqual({});
    expect(again.shards.length).toBeGreaterThan(3);
  });

  it('refuses the folder of another plan', async () => {
    const running = curate({ ...plan, seed: 4 }, { outputFolder: join(root, 'one') });
    await expect(running).rejects.toMatchObject({ code: 'OUTPUT_FOLDER_MISMATCH', value: join(root, 'one') });
  });

  it('notices a damaged shard and input that changed half-way', async () => {
    const corpus = join(root, 'changing');
    const { files } = await writeCorpus(corpus);
    const small: CurationPlanInput = { sources: [{ type: 'folder', name: 'files', path: files }] };
    const output = join(root, 'changing-out');
    const controller = new AbortController();
    const running = curate(small, {
      outputFolder: output,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    await utimes(join(files, 'generated.ts'), 1, 1);
    await expect(curate(small, { outputFolder: output })).rejects.toMatchObject({
      code: 'INPUT_CHANGED',
      message: expect.stringContaining('generated.ts was modified') as string,
    });
    await rm(output, { recursive: true });
    const { shards } = await curate(small, { outputFolder: output });
    await writeFile(shards[0].path, 'damaged');
    await expect(verifyCuration(output)).rejects.toMatchObject({ code: 'OUTPUT_CORRUPT' });
  });

  it('stops at bad input when the plan says so, naming it', async () => {
    const strict: CurationPlanInput = { ...plan, onBadInput: 'fail', sources: [plan.sources[1]] };
    const error: unknown = await curate(strict, { outputFolder: join(root, 'strict'), workers: 1 }).catch(
      (e: unknown) => e,
    );
    expect(CurationError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringMatching(/^lines:(plain|truncated)/) as string,
    });
  });

  it('finishes with no shard when nothing passes, and the report says why', async () => {
    const impossible: CurationPlanInput = {
      sources: [plan.sources[0]],
      filters: [{ filter: 'length', minimumCharacters: 10_000_000, maximumCharacters: 20_000_000 }],
    };
    const { shards, heldout, report } = await curate(impossible, { outputFolder: join(root, 'nothing') });
    expect([...shards, ...heldout]).toEqual([]);
    expect(report.drops.find((drop) => drop.reason === 'too short')?.documents).toBeGreaterThan(100);
  });
});

/** Runs the built package in a process of its own and kills it at the given progress event. */
async function runAndKill(runPlan: CurationPlanInput, outputFolder: string, event: number): Promise<void> {
  const script = `
    import { curate } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
    let events = 0;
    await curate(${JSON.stringify(runPlan)}, { outputFolder: ${JSON.stringify(outputFolder)}, workers: 2, onProgress: () => {
      if (++events === ${event}) process.kill(process.pid, 'SIGKILL');
    } });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
  const killedBy = await new Promise((resolve) => child.on('exit', (_code, signal) => resolve(signal)));
  expect(killedBy).toBe('SIGKILL');
}
