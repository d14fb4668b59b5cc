// The benchmarks as published, where a copy of them lies beside the repository.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  fewShotMathPrompt,
  humanEval,
  inspectSandbox,
  loadGsm8k,
  loadHumanEval,
  loadLoogle,
  mathAccuracy,
  questionAnswering,
} from '../src/index.js';
import { countWords, fakeModel } from './fake-models.js';

const data = path.resolve(import.meta.dirname, '../../../../shared/data');
const there = existsSync(data);
const sandbox = await inspectSandbox();

describe.skipIf(!there)(`published data${there ? '' : ' (SKIPPED: no ../shared/data beside the repository)'}`, () => {
  it('GSM8K: every answer is understood, and its own solutions score 1', async () => {
    const test = await loadGsm8k(path.join(data, 'gsm8k/test.jsonl'));
    const train = await loadGsm8k(path.join(data, 'gsm8k/train.jsonl'));
    expect([test.length, train.length]).toEqual([1319, 7473]);
    expect(test[0]).toMatchObject({ id: 'gsm8k/0', answer: '18' });
    expect(test[0].reasoning).not.toContain('<<');
    const prompt = fewShotMathPrompt(train.slice(0, 8));
    const solutions = new Map(test.map((problem) => [prompt(problem), problem.reasoning ?? '']));
    const options = { problems: test.slice(0, 200), prompt, stop: ['\n\nQuestion:'] };
    const right = await mathAccuracy({ ...options, model: fakeModel((text) => solutions.get(text) ?? '') });
    expect(right.accuracy.mean).toBe(1);
    const wrong = await mathAccuracy({ ...options, model: fakeModel(() => 'The answer is -12345.') });
    expect([wrong.accuracy.mean, wrong.answered]).toEqual([0, 1]);
  });

  it('LooGLE: documents, questions and answers', async () => {
    const long = await loadLoogle(path.join(data, 'loogle/longdep_qa.jsonl'));
    expect(long[0]).toMatchObject({ group: 'longdep_qa/comprehension_and_reasoning', answers: ['3'] });
    expect(new Set(long.map(({ id }) => id)).size).toBe(long.length);
    const short = await loadLoogle(path.join(data, 'loogle/shortdep_qa.jsonl'));
    expect(short[0].question).toBe('Where was José Luis Picardo born and raised?');
    const summaries = await loadLoogle(path.join(data, 'loogle/longdep_summarization.jsonl'));
    expect(summaries[0].answers[0].length).toBeGreaterThan(200);
    await expect(loadLoogle(path.join(data, 'loogle/shortdep_cloze.jsonl'))).rejects.toMatchObject({
      code: 'INVALID_DATA',
    });

    const questions = short.slice(0, 6);
    const answers = new Map(questions.map(({ question, answers: [answer] }) => [question, answer]));
    const oracle = fakeModel((prompt) => answers.get(/Question: (.*)\nAnswer:$/.exec(prompt)?.[1] ?? '') ?? '');
    const result = await questionAnswering({ model: oracle, questions, maximumPromptTokens: 3000 });
    expect(result.overall.exact.mean).toBe(1);
    expect(result.overall.rougeL.mean).toBe(1);
    expect(result.truncated).toBe(6);
    for (const prompt of oracle.prompts) {
      expect(countWords(prompt)).toBeLessThanOrEqual(3000);
      expect(countWords(prompt)).toBeGreaterThan(2990);
    }
  });

  it.skipIf(!sandbox.available)('HumanEval: its own solutions pass its own tests', async () => {
    const problems = await loadHumanEval(path.join(data, 'humaneval/HumanEval.jsonl.gz'));
    expect(problems).toHaveLength(164);
    const solutions = new Map(problems.map(({ prompt, canonicalSolution }) => [prompt, canonicalSolution ?? '']));
    const patient = { timeoutSeconds: 100 };
    const every = problems.filter((_, index) => index % 6 === 0);
    const right = await humanEval({
      model: fakeModel((prompt) => solutions.get(prompt) ?? ''),
      problems: every,
      sandbox: patient,
    });
    expect(right.passAt[0].estimate.mean).toBe(1);
    const wrong = await humanEval({
      model: fakeModel(() => '    return None\n'),
      problems: every.slice(0, 5),
      sandbox: patient,
    });
    expect(wrong.passAt[0].estimate.mean).toBe(0);
  });
});
