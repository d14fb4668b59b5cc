/** The memory of the whole process, seen from outside: below the limit, and no more for four times the input. */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { watchMemory } from '../bench/process-memory.mjs';
import { curate } from '../src/engine/curate.js';
import { planMemory } from '../src/engine/memory-budget.js';
import { parseCurationPlan } from '../src/plan/schema.js';
import type { CurationPlanInput } from '../src/plan/schema.js';
import { prose } from './corpus.js';

const mebibyte = 1024 ** 2;
const memoryLimit = 800 * mebibyte;
/** What four times the input may cost on top: lists of tasks, and garbage that was not collected yet. */
const allowedGrowth = 100;

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'memory-'));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

/** Documents with everything that grows: distinct lines and words, near copies, repeated passages, contaminated ones. */
async function writeInput(name: string, files: number): Promise<CurationPlanInput> {
  const folder = join(root, name);
  await mkdir(folder);
  const shared = prose(1, 20);
  for (let file = 0; file < files; file++) {
    const lines = Array.from({ length: 400 }, (_, index) => {
      const number = file * 400 + index;
      const own = prose(1000 + (index % 7 === 0 ? number - (number % 14) : number), 50);
      const names = Array.from({ length: 100 }, (_unused, word) => `name${number}x${word}`).join(' ');
      return `${JSON.stringify({ text: `${own}\n${names}\n${index % 5 === 0 ? shared : ''}The same footer everywhere.` })}\n`;
    });
    await writeFile(join(folder, `${file}.jsonl`), lines.join(''));
  }
  await writeFile(join(root, `${name}-exam.jsonl`), `${JSON.stringify({ question: prose(1000, 50) })}\n`);
  return {
    sources: [{ type: 'jsonl', name: 's', path: folder, domain: 'other', maximumLineBytes: 1024 * 1024 }],
    deduplication: { lines: {}, substrings: {} },
    decontamination: { sets: [{ name: 'exam', path: join(root, `${name}-exam.jsonl`), fields: ['question'] }] },
  };
}

async function peakOf(plan: CurationPlanInput, outputFolder: string): Promise<number> {
  const script = `
    import { curate } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
    await curate(${JSON.stringify(plan)}, { outputFolder: ${JSON.stringify(outputFolder)}, workers: 1, memoryLimit: ${memoryLimit} });
    // The last look has to find the process alive.
    await new Promise((resolve) => setTimeout(resolve, 200));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
  const stop = watchMemory(child.pid!);
  const exit = await new Promise((resolve) => child.on('close', resolve));
  expect(exit).toBe(0);
  return stop().residentMebibytes;
}

describe('memory', () => {
  it.skipIf(!existsSync('/proc/self/smaps_rollup'))(
    'stays below the limit and hardly grows with four times the input',
    async () => {
      const [small, large] = await Promise.all([
        peakOf(await writeInput('small', 2), join(root, 'small-out')),
        peakOf(await writeInput('large', 8), join(root, 'large-out')),
      ]);
      console.log(`peak ${small.toFixed(0)} MiB, with four times the input ${large.toFixed(0)} MiB`);
      expect(large).toBeLessThan(memoryLimit / mebibyte);
      expect(large - small).toBeLessThan(allowedGrowth);
    },
  );

  it('divides the limit: fewer workers where it is small or documents may be large, and says what a plan needs', async () => {
    const sources = (maximumLineBytes: number) => [{ type: 'jsonl' as const, name: 's', path: 'x', maximumLineBytes }];
    const plan = parseCurationPlan({ sources: sources(8 * mebibyte) });
    const usual = planMemory(plan, 8);
    expect(usual.workers).toBe(4);
    expect(planMemory(plan, 2).workers).toBe(2);
    expect(planMemory(plan, 64, 32 * 1024 * mebibyte).workers).toBe(64);
    const noLength = parseCurationPlan({ sources: sources(8 * mebibyte), filters: [{ filter: 'fineweb' }] });
    expect(planMemory(noLength, 8).workers).toBeLessThan(usual.workers);
    expect(() => planMemory(noLength, 8, 700 * mebibyte)).toThrow(/needs at least \d+: raise it/);
    const outputFolder = join(root, 'refused');
    for (const limit of [0, -1, 1.5, Number.NaN, 100 * mebibyte]) {
      await expect(curate({ sources: sources(mebibyte) }, { outputFolder, memoryLimit: limit })).rejects.toMatchObject({
        code: 'OPTION_INVALID',
      });
    }
    expect(existsSync(outputFolder)).toBe(false);
  });
});
