import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const built = new URL('../dist/index.js', import.meta.url).href;
const packageFolder = fileURLToPath(new URL('..', import.meta.url));

/** A slow model whose answers depend on their seeds, run in a process of its own. */
const script = (folder: string): string => `
import { mathAccuracy } from ${JSON.stringify(built)};
const problems = Array.from({ length: 60 }, (_, i) => ({ id: 'p' + i, question: 'q' + i, answer: i }));
const model = {
  name: 'slow',
  async generate(prompts, { seeds, onCompletion }) {
    const completions = [];
    for (let i = 0; i < prompts.length; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      const completion = { text: '#### ' + (seeds[i] % 7), finishReason: 'stop' };
      completions.push(completion);
      onCompletion?.(i, completion);
    }
    return completions;
  },
};
const { accuracy } = await mathAccuracy({ model, problems, samplesPerProblem: 2, temperature: 1, outputFolder: ${JSON.stringify(folder)} });
console.log(JSON.stringify(accuracy));
`;

function start(folder: string) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script(folder)], {
    cwd: packageFolder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const ended = new Promise<string>((resolve) => child.on('close', () => resolve(output)));
  return { child, ended };
}

describe('a run killed with SIGKILL again and again', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'xgen-killed-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('ends with the results of one that was left alone', async () => {
    const alone = path.join(folder, 'alone');
    const expected = await start(alone).ended;
    const log = path.join(folder, 'killed', 'math.samples.jsonl');
    const sizeOf = () =>
      stat(log).then(
        ({ size }) => size,
        () => 0,
      );
    for (let kill = 0; kill < 3; kill++) {
      const { child, ended } = start(path.join(folder, 'killed'));
      const before = await sizeOf();
      // At an arbitrary moment after it has written something.
      while ((await sizeOf()) < before + 1500) await new Promise((resolve) => setTimeout(resolve, 3));
      child.kill('SIGKILL');
      await ended;
    }
    expect(await start(path.join(folder, 'killed')).ended).toBe(expected);
    const results = (name: string) => readFile(path.join(folder, name, 'math.results.json'), 'utf8');
    expect(await results('killed')).toBe(await results('alone'));
  });
});
