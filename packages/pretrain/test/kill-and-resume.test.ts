/** Real processes, really killed: what they leave behind must lead to the bytes of a run that nobody disturbed. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PretrainStageInput } from '../src/stage/stage';
import { countingDocuments } from './synthetic-documents';
import { tinyConfig } from './tiny-model';

const steps = 30;
const config = { ...tinyConfig, layers: 1 };
const stage: PretrainStageInput = {
  name: 'killed',
  contextLength: 32,
  tokensPerStep: 32,
  steps,
  learningRate: { type: 'cosine', peak: 0.01 },
  mixture: { even: { share: 1, topFraction: { start: 1, end: 0.5 } }, odd: { share: 1 } },
};

let root: string;
let reference: Record<string, string>;

interface Ended {
  code: number | null;
  signal: string | null;
  /** Steps finished, by its own account. */
  step: number;
  error: string;
}

/** Starts the stage in its own process; `onStep` is called for every step it reports, with a function that signals it. */
async function runChild(
  folder: string,
  { onStep, shell }: { onStep?: (step: number, kill: (signal: NodeJS.Signals) => void) => void; shell?: string } = {},
): Promise<Ended> {
  const argumentsFile = join(root, `arguments-${Math.random()}.json`);
  const content = { documents: countingDocuments(), config, stage, folder, checkpoints: { everySteps: 2 } };
  await writeFile(argumentsFile, JSON.stringify(content));
  const command = [process.execPath, join(import.meta.dirname, 'train-child.mjs'), argumentsFile];
  const [file, ...args] = shell === undefined ? command : ['sh', '-c', `${shell}; exec "$@"`, 'sh', ...command];
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let step = 0;
    let error = '';
    child.stdout.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().trim().split('\n')) {
        step = Number(line);
        onStep?.(step, (signal) => child.kill(signal));
      }
    });
    child.stderr.on('data', (chunk: Buffer) => (error += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, step, error }));
  });
}

/** Every file below a folder; the metrics without their clock. */
async function contents(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const text = (await readFile(path)).toString('latin1');
    files[path.slice(folder.length)] = entry.name.endsWith('.jsonl')
      ? text.replaceAll(/,"tokensPerSecond":[^,]*,"seconds":[^}]*/g, '')
      : text;
  }
  return files;
}

beforeAll(async () => {
  if (!existsSync(join(import.meta.dirname, '../dist/index.js'))) throw new Error('Run pnpm build first.');
  root = await mkdtemp(join(tmpdir(), 'pretrain-kill-'));
  const folder = join(root, 'reference');
  expect(await runChild(folder)).toEqual({ code: 0, signal: null, step: steps, error: '' });
  reference = await contents(folder);
});
afterAll(async () => rm(root, { recursive: true, force: true }));

describe('a training process', () => {
  it('killed with SIGKILL at random moments ends with the same bytes', async () => {
    const folder = join(root, 'killed');
    const log: string[] = [];
    for (let kill = 0; kill < 5; kill++) {
      const target = kill * 4 + 1;
      const delay = Math.random() * 20; // anywhere in a step, an append or a checkpoint
      const ended = await runChild(folder, {
        onStep: (step, signal) => void (step === target && setTimeout(() => signal('SIGKILL'), delay)),
      });
      log.push(`after step ${target} + ${delay.toFixed(1)} ms at step ${ended.step}`);
      expect(ended.signal, log.join('; ')).toBe('SIGKILL');
    }
    expect((await runChild(folder)).code, log.join('; ')).toBe(0);
    expect(await contents(folder), log.join('; ')).toEqual(reference);
  });

  it('stopped with SIGINT saves its state, says so, and continues', async () => {
    const folder = join(root, 'interrupted');
    const ended = await runChild(folder, { onStep: (step, signal) => void (step === 7 && signal('SIGINT')) });
    expect(ended.code).toBe(3);
    expect(ended.error).toMatch(/^ABORTED: Stage "killed" was interrupted after step \d+\. Its state is on disk/);
    expect(await readdir(join(folder, 'checkpoints'))).toEqual([`step-${String(ended.step).padStart(8, '0')}`]);
    expect((await runChild(folder)).code).toBe(0);
    expect(await contents(folder)).toEqual(reference);
  });

  it.skipIf(process.platform === 'win32')(
    'without room on the disk says so, and keeps the checkpoint before',
    async () => {
      const folder = join(root, 'full');
      await runChild(folder, { onStep: (step, signal) => void (step === 5 && signal('SIGKILL')) });
      const before = await readdir(join(folder, 'checkpoints'));
      const kept = join(folder, 'checkpoints', before[0]);
      const whole = await contents(kept);
      // no file may grow beyond 6 KiB: the metrics fit, the model's 12 KiB don't
      const ended = await runChild(folder, { shell: 'ulimit -f 12' });
      expect(ended.code).toBe(3);
      expect(ended.error).toMatch(
        /^WRITE_FAILED: The checkpoint of step \d+ could not be written to .*checkpoints: .*EFBIG/,
      );
      expect(ended.error).toContain(`The checkpoint before it, ${before[0]}, is intact.`);
      expect(await readdir(join(folder, 'checkpoints'))).toEqual(before);
      expect(await contents(kept)).toEqual(whole);
      expect((await runChild(folder)).code).toBe(0);
      expect(await contents(folder)).toEqual(reference);
    },
  );
});
