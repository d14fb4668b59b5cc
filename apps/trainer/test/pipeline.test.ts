/**
 * The pipeline from end to end with the built command: every stage of the recipe `smoke` on real text, then the same under
 * kill -9 and Ctrl-C at arbitrary moments, ending with the same bytes. Cost: some two minutes on two cores.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stageIds } from '../src/run/stage-context.js';
import { repository, reproducible, startXgen, xgen, type Finished, type RunJson } from './xgen.js';

let home: string;
let reference: Finished;
const readRun = async (name: string): Promise<RunJson> =>
  JSON.parse(await readFile(join(home, name, 'run.json'), 'utf8')) as RunJson;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'xgen-pipeline-'));
  reference = await xgen(['run', 'smoke', '-o', join(home, 'reference')], repository);
}, 600_000);
afterAll(() => rm(home, { recursive: true, force: true }));

describe('xgen run', () => {
  it('takes real text through every stage to a report', async () => {
    expect(reference.stderr).toBe('');
    expect(reference.code).toBe(0);
    const run = await readRun('reference');
    expect(Object.keys(run.stages)).toEqual([...stageIds]);
    for (const title of ['Held-out loss', 'Needle retrieval', 'Maths accuracy', 'Time'])
      expect(reference.stdout).toContain(title);
    expect(reference.stdout).toMatch(/Report: .*report\.html/);
    expect(reference.stdout).toMatch(/Chat with the model: npm run serve/);
    expect(reference.stdout).toMatch(/about .* of training/);
    const html = await readFile(join(home, 'reference', 'report.html'), 'utf8');
    expect(html).not.toMatch(/<script|https?:\/\//);
    expect(html).not.toMatch(/NaN|undefined|\[object/);
    for (const title of [
      'Training loss',
      'Learning rate',
      'Before extension',
      'After extension',
      'PPO: reward',
      'Documents after each step',
    ]) {
      expect(html).toContain(title);
    }
  });

  it('writes hashes that are the files’ own', async () => {
    const run = await readRun('reference');
    for (const [path, sha256] of Object.entries(reproducible(run))) {
      const bytes = await readFile(join(home, 'reference', path));
      expect(createHash('sha256').update(bytes).digest('hex'), path).toBe(sha256);
    }
  });

  it('leaves a Hugging Face model folder', async () => {
    const config = JSON.parse(await readFile(join(home, 'reference', 'model', 'config.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(config).toMatchObject({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      vocab_size: 512,
      max_position_embeddings: 512,
    });
    for (const name of ['tokenizer.json', 'tokenizer_config.json'])
      expect(existsSync(join(home, 'reference', 'model', name)), name).toBe(true);
  });

  it('does nothing more when it is run again', async () => {
    const before = await readFile(join(home, 'reference', 'run.json'), 'utf8');
    const { code, stdout } = await xgen(['run', 'smoke', '-o', join(home, 'reference')], repository);
    expect(code).toBe(0);
    expect(stdout.match(/finished before/g)).toHaveLength(stageIds.length);
    const state = (text: string): unknown => (JSON.parse(text) as RunJson).stages;
    expect(state(await readFile(join(home, 'reference', 'run.json'), 'utf8'))).toEqual(state(before));
  });

  it('ends with the same bytes after kill -9 and Ctrl-C at any moment', async () => {
    const folder = join(home, 'interrupted');
    // Moments spread over the run, in seconds; the last attempts run on. Whatever stage they hit has to continue.
    const attempts: [seconds: number, signal: NodeJS.Signals][] = [
      [1.5, 'SIGKILL'],
      [4, 'SIGINT'],
      [5, 'SIGKILL'],
      [6, 'SIGKILL'],
      [7, 'SIGTERM'],
      [8, 'SIGKILL'],
    ];
    const codes: (number | null)[] = [];
    for (const [seconds, signal] of attempts) {
      const { child, done } = startXgen(['run', 'smoke', '-o', folder], repository);
      const timer = setTimeout(() => child.kill(signal), seconds * 1000);
      const { code } = await done;
      clearTimeout(timer);
      codes.push(code);
      if (code === 0) break;
    }
    expect(codes.some((code) => code !== 0)).toBe(true);
    for (const code of codes) expect([null, 0, 130, 143]).toContain(code);
    const last = await xgen(['run', 'smoke', '-o', folder], repository);
    expect(last.stderr).toBe('');
    expect(last.code).toBe(0);
    expect(reproducible(await readRun('interrupted'))).toEqual(reproducible(await readRun('reference')));
  }, 600_000);

  it('refuses to go on when a finished stage’s file was damaged', async () => {
    const folder = join(home, 'interrupted');
    const run = await readRun('interrupted');
    const victim = run.stages.tokenize.outputs.find(({ path }) => path.endsWith('.tokens.bin'))!;
    await rm(join(folder, victim.path));
    const { code, stderr } = await xgen(['run', 'smoke', '-o', folder], repository);
    expect(code).toBe(1);
    expect(stderr).toContain(victim.path);
    expect(stderr).toMatch(/CORRUPT_RUN/);
  });
});

describe('xgen serve', () => {
  it('answers the official client from the run’s final model', async () => {
    const { child, done } = startXgen(['serve', join(home, 'reference'), '--port', '0'], repository);
    const url = await new Promise<string>((found, failed) => {
      let text = '';
      child.stdout!.on('data', (chunk: string) => {
        text += chunk;
        const match = /OpenAI API at (\S+)/.exec(text);
        if (match) found(match[1]);
      });
      void done.then(({ stderr }) => failed(new Error(stderr)));
    });
    const client = new OpenAI({ baseURL: url, apiKey: 'none', maxRetries: 0 });
    const models = await client.models.list();
    expect(models.data.map(({ id }) => id)).toEqual(['xgen-small-smoke']);
    const answer = await client.chat.completions.create({
      model: 'xgen-small-smoke',
      messages: [{ role: 'user', content: 'Tom has 3 apples and buys 4 more. How many apples does Tom have?' }],
      max_tokens: 8,
      temperature: 0,
    });
    expect(answer.choices[0].message.role).toBe('assistant');
    expect(answer.usage!.completion_tokens).toBeGreaterThan(0);
    child.kill('SIGINT');
    expect((await done).code).toBe(0);
  });
});
