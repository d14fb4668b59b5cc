import { describe, expect, it } from 'vitest';
import {
  defaultNeedleTemplate,
  needleRetrievalGrid,
  needleSample,
  type LanguageModelUnderTest,
  type Prompt,
} from '../src/index.js';
import { countWords, fakeModel, prose } from './fake-models.js';
import { tinyModel } from './tiny-model.js';

const retrieve = (prompt: string): string => {
  const key = /What is the access code of the ([a-z ]+)\?/.exec(prompt)?.[1];
  return ` ${new RegExp(`The access code of the ${key} is (\\d+)\\.`).exec(prompt)?.[1] ?? 'unknown'}.`;
};

describe('needleSample', () => {
  it('hits every length exactly with a byte-level BPE tokenizer, at every depth', async () => {
    const { tokenizer } = await tinyModel();
    const countTokens = (prompt: Prompt): number => tokenizer.encode(prompt as string).length;
    for (const length of [128, 257, 1024, 3001]) {
      for (const depth of [0, 0.25, 0.5, 1]) {
        for (let index = 0; index < 3; index++) {
          const sample = needleSample({ haystack: prose, length, depth, seed: 5, index, countTokens });
          expect(countTokens(sample.prompt)).toBe(length);
          expect(sample.promptTokens).toBe(length);
          const text = sample.prompt as string;
          expect(text.split(`The access code of the ${sample.key} is ${sample.value}.`)).toHaveLength(2);
          expect(text.endsWith(`The access code of the ${sample.key} is`)).toBe(true);
          if (length > 1000) expect(Math.abs(sample.actualDepth - depth)).toBeLessThan(0.03);
        }
      }
    }
  });

  it('never passes the length with a tokenizer that cannot hit it', () => {
    // Counts in steps of three.
    const countTokens = (prompt: Prompt): number => 3 * Math.ceil((prompt as string).length / 12);
    const sample = needleSample({ haystack: prose, length: 500, depth: 0.5, seed: 1, countTokens });
    expect(sample.promptTokens).toBe(498);
  });

  it('uses the template, keys and values given, and hides distractors that differ', () => {
    const template = {
      needle: '[{key}={value}]',
      question: '?{key}=',
      prompt: 'Q {question}\n{context}\nA {question}',
    };
    const sample = needleSample({
      haystack: prose,
      template,
      keys: ['a', 'b', 'c'],
      values: ['1', '2', '3'],
      distractors: 2,
      length: 200,
      depth: 0.5,
      seed: 9,
      countTokens: countWords,
    });
    const found = [...(sample.prompt as string).matchAll(/\[(\w)=(\w)\]/g)].map(([, key, value]) => ({ key, value }));
    expect(found.map(({ key }) => key).sort()).toEqual(['a', 'b', 'c']);
    expect(found.map(({ value }) => value).sort()).toEqual(['1', '2', '3']);
    expect(found).toContainEqual({ key: sample.key, value: sample.value });
    expect(sample.prompt).toMatch(new RegExp(`^Q \\?${sample.key}=\n[^]*\nA \\?${sample.key}=$`));
  });

  it('refuses templates without their places, and lengths that the question alone exceeds', () => {
    const base = { haystack: prose, length: 100, depth: 0.5, seed: 1, countTokens: countWords };
    const code = (run: () => unknown): unknown => {
      try {
        return run();
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };
    expect(code(() => needleSample({ ...base, template: { needle: '{key}', question: '{key}' } }))).toBe(
      'INVALID_OPTIONS',
    );
    expect(code(() => needleSample({ ...base, length: 8 }))).toBe('CONTEXT_TOO_SHORT');
    expect(code(() => needleSample({ ...base, depth: 50 }))).toBe('INVALID_OPTIONS');
    expect(code(() => needleSample({ ...base, distractors: 5, keys: ['a'] }))).toBe('INVALID_OPTIONS');
    expect(code(() => needleSample({ ...base, haystack: [' '] }))).toBe('HAYSTACK_TOO_SHORT');
  });
});

describe('needleRetrievalGrid', () => {
  const grid = { haystack: prose, lengths: [300, 150], depths: [1, 0, 0.5], samples: 4, seed: 2 };

  it('gives a model that reads full marks, and one that does not none', async () => {
    const reader = fakeModel(retrieve);
    const full = await needleRetrievalGrid({ ...grid, model: reader });
    expect(full.lengths).toEqual([150, 300]);
    expect(full.depths).toEqual([0, 0.5, 1]);
    expect(full.matrix).toEqual([
      [1, 1, 1],
      [1, 1, 1],
    ]);
    expect(full.overall).toMatchObject({ mean: 1, count: 24 });
    // The answer's 16 tokens belong to the length.
    expect(new Set(reader.prompts.map((prompt) => countWords(prompt)))).toEqual(new Set([134, 284]));
    const none = await needleRetrievalGrid({ ...grid, model: fakeModel(() => '42') });
    expect(none.overall.mean).toBe(0);
  });

  it('shows where a short memory ends', async () => {
    const forgetful = fakeModel((prompt) => retrieve(prompt.slice(-900)));
    const { matrix, byLength } = await needleRetrievalGrid({ ...grid, lengths: [150, 600], model: forgetful });
    expect(matrix[0]).toEqual([1, 1, 1]);
    expect(matrix[1][0]).toBe(0);
    expect(matrix[1][2]).toBe(1);
    expect(byLength[1].accuracy.mean).toBeLessThan(1);
  });

  it('depends on its seed alone, and one cell on no other', async () => {
    const prompts = async (options: object) => {
      const model = fakeModel(retrieve);
      await needleRetrievalGrid({ ...grid, ...options, model });
      return model.prompts;
    };
    const all = await prompts({});
    expect(await prompts({ batchSize: 3 })).toEqual(all);
    expect(await prompts({ seed: 3 })).not.toEqual(all);
    const one = await prompts({ lengths: [300], depths: [0.5], samples: 2 });
    expect(one.every((prompt) => all.includes(prompt))).toBe(true);
    expect(new Set(all).size).toBe(24);
  });

  it('scores as asked', async () => {
    const { value } = needleSample({ haystack: prose, length: 134, depth: 0, seed: 2, countTokens: countWords });
    const only = { ...grid, lengths: [150], depths: [0], samples: 1 };
    const score = async (text: string, scoring: 'contains' | 'exact' | 'starts') =>
      (await needleRetrievalGrid({ ...only, scoring, model: fakeModel(() => text) })).overall.mean;
    expect(await score(`It is ${value}, yes`, 'contains')).toBe(1);
    expect(await score(`It is ${value}, yes`, 'starts')).toBe(0);
    expect(await score(`${value}, yes`, 'starts')).toBe(1);
    expect(await score(`${value}, yes`, 'exact')).toBe(0);
    expect(await score(` ${value}.\n`, 'exact')).toBe(1);
  });

  it('sends chat prompts when the template says so, and asks for a counter when it has none', async () => {
    const seen: Prompt[] = [];
    const model = fakeModel(retrieve);
    const spying: LanguageModelUnderTest = {
      ...model,
      generate(prompts, options) {
        seen.push(...prompts);
        return model.generate(prompts, options);
      },
    };
    await needleRetrievalGrid({ ...grid, model: spying, template: { ...defaultNeedleTemplate, chat: true } });
    expect(seen[0]).toMatchObject([{ role: 'user' }]);
    const blind = { ...model, countTokens: undefined };
    await expect(needleRetrievalGrid({ ...grid, model: blind })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    await expect(needleRetrievalGrid({ ...grid, model, depths: [50] })).rejects.toThrow('depths');
    await expect(needleRetrievalGrid({ ...grid, model, sampels: 1 } as never)).rejects.toThrow('sampels');
  });
});
