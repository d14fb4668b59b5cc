/** The three stages in child processes that are killed (SIGKILL) at many points and started again. Runs the built package. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { filesOf, rowsOf, temporaryFolders } from './support/folders.js';

const newFolder = temporaryFolders();
const script = fileURLToPath(new URL('support/run-stages.mjs', import.meta.url));

/** Runs the script; kills it at once after `lines` lines. Returns the signal or exit code that ended it. */
function runUntil(folder: string, lines = Infinity): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, folder], { stdio: ['ignore', 'pipe', 'pipe'] });
    let errors = '';
    let seen = 0;
    child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
    createInterface({ input: child.stdout }).on('line', () => {
      if (++seen === lines) child.kill('SIGKILL');
    });
    child.on('error', reject);
    child.on('close', (code, signal) =>
      code === null || code === 0 ? resolve(signal ?? String(code)) : reject(new Error(errors)),
    );
  });
}

function withoutTimes(row: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(row).filter(([name]) => !/seconds$/i.test(name)));
}

it('ends in the same bytes as an uninterrupted run', async () => {
  const [whole, killed] = [await newFolder(), await newFolder()];
  expect(await runUntil(whole)).toBe('0');
  // Each life begins with what was kept: steps of SFT, reference log-probabilities, samples and iterations of PPO.
  const deaths: string[] = [];
  for (const lines of [3, 4, 6, 17, 9, 15]) deaths.push(await runUntil(killed, lines));
  expect(deaths).toEqual(deaths.map(() => 'SIGKILL'));
  expect(await runUntil(killed)).toBe('0');
  for (const stage of ['sft', 'dpo', 'ppo']) {
    const [expected, found] = await Promise.all(
      [whole, killed].map(async (folder) => ({
        checkpoints: await filesOf(join(folder, stage, 'checkpoints')),
        model: await filesOf(join(folder, stage, 'model')),
      })),
    );
    expect(Object.keys(expected.checkpoints)).toHaveLength(4);
    expect(found).toEqual(expected);
    const rows = await Promise.all([whole, killed].map((folder) => rowsOf(join(folder, stage, 'metrics.jsonl'))));
    const timeless = rows.map((each) => each.map(withoutTimes));
    expect(timeless[1]).toEqual(timeless[0]);
    // Otherwise nothing was trained, and equal bytes would say nothing.
    for (const { gradientNorm } of rows[0]) expect(gradientNorm).toBeGreaterThan(0);
  }
});
