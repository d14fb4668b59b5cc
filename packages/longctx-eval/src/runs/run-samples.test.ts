import { appendFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mathAccuracy } from '../math/math-accuracy.js';
import type { Completion, GenerateOptions, LanguageModelUnderTest, Prompt } from '../model/types.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'xgen-runs-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const problems = Array.from({ length: 30 }, (_, i) => ({ id: `p${i}`, question: `What is ${i} + 1?`, answer: i + 1 }));

/** Right for even numbers; answers depend on nothing but the prompt and its seed. */
class FakeModel implements LanguageModelUnderTest {
  asked = 0;
  constructor(
    readonly name = 'fake',
    private readonly failAfter = Infinity,
  ) {}
  async generate(prompts: readonly Prompt[], options: GenerateOptions): Promise<Completion[]> {
    const completions: Completion[] = [];
    for (let i = 0; i < prompts.length; i++) {
      if (this.asked >= this.failAfter) throw new Error('the machine stopped');
      this.asked++;
      const number = Number(/What is (\d+)/.exec(JSON.stringify(prompts[i]))?.[1]);
      const answer = number % 2 === 0 ? number + 1 : (options.seeds?.[i] ?? 0) + 1000;
      const completion: Completion = { text: `#### ${answer}`, finishReason: 'stop' };
      completions.push(completion);
      options.onCompletion?.(i, completion);
      await Promise.resolve();
    }
    return completions;
  }
}

const run = (model: FakeModel, more: object = {}) => mathAccuracy({ model, problems, outputFolder: folder, ...more });

const log = () => path.join(folder, 'math.samples.jsonl');
const results = () => readFile(path.join(folder, 'math.results.json'), 'utf8');

describe('a run', () => {
  it('logs every sample, and asks nothing twice', async () => {
    const model = new FakeModel();
    const first = await run(model);
    expect(first.accuracy.mean).toBe(0.5);
    expect(model.asked).toBe(30);
    const lines = (await readFile(log(), 'utf8')).trim().split('\n');
    expect(lines).toHaveLength(31);
    expect(JSON.parse(lines[0])).toMatchObject({ format: 'xgen-small/samples', task: 'math', model: 'fake' });
    expect(JSON.parse(lines[1])).toMatchObject({ id: 'p0', references: ['1'], completions: ['#### 1'], score: 1 });
    const before = await results();
    const second = await run(model);
    expect(model.asked).toBe(30);
    expect(second).toEqual(first);
    expect(await results()).toBe(before);
  });

  it('continues after an interruption to the same results, whatever the batches', async () => {
    const whole = await mathAccuracy({ model: new FakeModel(), problems });
    await expect(run(new FakeModel('fake', 17), { batchSize: 7 })).rejects.toThrow('the machine stopped');
    // What was answered inside the failing batch is on disk too.
    expect((await readFile(log(), 'utf8')).trim().split('\n')).toHaveLength(18);
    const model = new FakeModel();
    const rest = await run(model, { batchSize: 5 });
    expect(model.asked).toBe(13);
    expect(rest).toEqual(whole);
  });

  it('cuts off a line that a killed process left half-written', async () => {
    const whole = await run(new FakeModel());
    const size = (await readFile(log())).length;
    await truncate(log(), size - 40);
    const model = new FakeModel();
    expect(await run(model)).toEqual(whole);
    expect(model.asked).toBe(1);
    for (const line of (await readFile(log(), 'utf8')).trim().split('\n')) JSON.parse(line);
    // Even the header may be torn.
    await truncate(log(), 10);
    const again = new FakeModel();
    expect(await run(again)).toEqual(whole);
    expect(again.asked).toBe(30);
  });

  it('refuses a log of another model, other settings, or with a damaged line', async () => {
    await run(new FakeModel());
    await expect(run(new FakeModel('another'))).rejects.toMatchObject({ code: 'LOG_MISMATCH', value: ['model'] });
    await expect(run(new FakeModel(), { maximumNewTokens: 5, seed: 1 })).rejects.toMatchObject({
      code: 'LOG_MISMATCH',
      value: ['maximumNewTokens', 'seed'],
    });
    const text = await readFile(log(), 'utf8');
    await writeFile(log(), text.replace('"score":1', '"score":"x"'));
    await expect(run(new FakeModel())).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    await expect(run(new FakeModel())).rejects.toThrow('Line 2');
    await writeFile(log(), text);
    await appendFile(log(), 'noise\n');
    await expect(run(new FakeModel())).rejects.toThrow('Line 32');
  });

  it('stops on its signal, after what is done is safe', async () => {
    const controller = new AbortController();
    let completed = 0;
    const stopped = run(new FakeModel(), {
      batchSize: 4,
      signal: controller.signal,
      onProgress: (event: { completed: number }) => {
        completed = event.completed;
        if (completed >= 10) controller.abort();
      },
    });
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
    expect((await readFile(log(), 'utf8')).trim().split('\n')).toHaveLength(completed + 1);
    expect((await run(new FakeModel())).accuracy.count).toBe(30);
  });
});
