/** Twenty kills at random moments of every stage, each followed by a rerun in the same folder: no byte of the result may change. */

import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { curate } from '../src/engine/curate.js';
import type { CurationPlanInput } from '../src/plan/schema.js';
import { seededRandom } from '../src/util/permutation.js';
import { code, prose } from './corpus.js';
import { hashFolder } from './folder-hash.js';

const wantedKills = 20;
/** A kill comes at a random moment after the first news of one of these; what follows without news is hit too. */
const stages = [
  'start',
  'read and filter',
  'find duplicates',
  'repeated text: scan',
  'repeated text: locate',
  'repeated text: apply',
  'write shards',
];

it(`gives the same bytes after ${wantedKills} kills at random moments of every stage`, async () => {
  const root = await mkdtemp(join(tmpdir(), 'kills-'));
  try {
    const footer = 'This line stands at the end of every page of this site.';
    const plan: CurationPlanInput = {
      // Several tasks, and every step there is.
      sources: Array.from({ length: 6 }, (_, index) => ({
        type: 'jsonl',
        name: `s${index}`,
        path: join(root, `${index}.jsonl`),
        // The language of code needs no n-grams to be loaded, which every run would do.
        domain: 'code',
      })),
      filters: [{ filter: 'length' }, { filter: 'gopherRepetition' }],
      deduplication: { lines: { domains: ['code'] }, substrings: { words: 50, domains: ['code'] } },
      mixture: { stages: [{ name: 'broad', budgetTokens: 50_000 }] },
      output: { shardBytes: 100_000 },
    };
    for (let file = 0; file < 6; file++) {
      const texts = Array.from({ length: 50 }, (_, index) =>
        index % 3 === 0 ? code(file * 50 + index) : `${prose(file * 40 + index, 10)}${footer}\n`,
      );
      await writeFile(join(root, `${file}.jsonl`), texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
    }
    await curate(plan, { outputFolder: join(root, 'whole'), workers: 2 });
    const expected = await hashFolder(join(root, 'whole'));

    // Two chains of kills at once: each waits for its processes most of the time. Every stage has its turn in both.
    const killedIn = new Map<string, number>();
    await Promise.all(
      [0, 1].map(async (chain) => {
        const random = seededRandom((Date.now() % 1e9) + chain);
        const output = join(root, `killed-${chain}`);
        for (let kills = 0; kills < wantedKills / 2;) {
          const stage = stages[(kills + chain * 3) % stages.length];
          if (await runUntil(plan, output, stage, random() * 250)) {
            kills++;
            killedIn.set(stage, (killedIn.get(stage) ?? 0) + 1);
            continue;
          }
          // It came to its end first: that has to be right too, and the next one starts afresh.
          expect(await hashFolder(output)).toEqual(expected);
          await rm(output, { recursive: true, force: true });
        }
        await curate(plan, { outputFolder: output, workers: 2 });
        expect(await hashFolder(output)).toEqual(expected);
        expect(await stat(join(output, '.work')).catch(() => undefined)).toBeUndefined();
      }),
    );
    expect([...killedIn.values()].reduce((sum, kills) => sum + kills, 0)).toBe(wantedKills);
    expect([...killedIn.keys()].sort()).toEqual([...stages].sort());
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});

/** True when the process was killed, some milliseconds after it reached the stage; false when it ended by itself first. */
async function runUntil(
  plan: CurationPlanInput,
  outputFolder: string,
  stage: string,
  milliseconds: number,
): Promise<boolean> {
  const script = `
    import { curate } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
    console.log('start');
    await curate(${JSON.stringify(plan)}, {
      outputFolder: ${JSON.stringify(outputFolder)},
      workers: 2,
      onProgress: ({ task, detail }) => console.log(task === 'repeated text' ? task + ': ' + detail : task),
    });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let timer: NodeJS.Timeout | undefined;
  child.stdout.on('data', (data: Buffer) => {
    if (!data.toString().split('\n').includes(stage)) return;
    timer ??= setTimeout(() => child.kill('SIGKILL'), milliseconds);
  });
  const [exit, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on('exit', (code_, signal_) => resolve([code_, signal_])),
  );
  clearTimeout(timer);
  if (signal !== 'SIGKILL') expect(exit).toBe(0);
  return signal === 'SIGKILL';
}
