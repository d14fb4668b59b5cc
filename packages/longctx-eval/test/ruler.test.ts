import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  generateRulerSamples,
  loadHotpot,
  loadSquad,
  ruler,
  rulerTaskNames,
  scoreRuler,
  type RulerQuestion,
  type RulerSample,
  type RulerSampleOptions,
  type RulerTaskName,
} from '../src/index.js';
import { countWords, fakeModel, prose } from './fake-models.js';

const squad: RulerQuestion[] = Array.from({ length: 30 }, (_, i) => ({
  question: `Who founded town ${i}?`,
  answers: [`Founder-${i}.`, `Dr. Founder-${i}.`],
  supporting: [`Town ${i} was founded in a mild spring by Founder-${i}. ${'It grew slowly. '.repeat(10)}`],
  distractors: [`Town ${i} has a mayor. ${'The mayor sleeps. '.repeat(12)}`],
}));

const sources = { haystack: prose, squad, hotpot: squad };
const samplesOf = (
  task: RulerTaskName,
  length: number,
  more: Partial<RulerSampleOptions> = {},
): Promise<RulerSample[]> =>
  generateRulerSamples({ ...sources, task, length, samples: 4, seed: 1, countTokens: countWords, ...more });

describe('samples', () => {
  it.each(rulerTaskNames)('of %s fill their length, never pass it, and depend on the seed alone', async (task) => {
    for (const length of [1200, 4096]) {
      const samples = await samplesOf(task, length);
      for (const sample of samples) {
        const tokens = countWords(sample.prompt + sample.answerPrefix);
        expect(tokens).toBe(sample.promptTokens);
        expect(tokens + sample.maximumNewTokens).toBeLessThanOrEqual(length);
        // The largest unit (a question's document) has about 50 words.
        if (!task.startsWith('qa_')) expect(tokens + sample.maximumNewTokens).toBeGreaterThan(length * 0.88);
        expect(sample.references.length).toBeGreaterThan(0);
        expect(sample.prompt.toLowerCase()).toContain(sample.references[0].toLowerCase());
      }
      expect(new Set(samples.map(({ prompt }) => prompt)).size).toBe(4);
      expect(await samplesOf(task, length)).toEqual(samples);
      // The first samples do not change when more are asked for.
      expect((await samplesOf(task, length, { samples: 2 }))[1]).toEqual(samples[1]);
      expect((await samplesOf(task, length, { seed: 2 }))[0].prompt).not.toBe(samples[0].prompt);
    }
  });

  it.each([
    ['niah_single_1', 1, 1],
    ['niah_single_3', 1, 1],
    ['niah_multikey_1', 4, 1],
    ['niah_multivalue', 4, 4],
    ['niah_multiquery', 4, 4],
  ] as const)('of %s hide %d needles and ask for %d', async (task, needles, references) => {
    for (const sample of await samplesOf(task, 2000)) {
      expect([...sample.prompt.matchAll(/A secret \w+ of [\w-]+ is: /g)]).toHaveLength(needles);
      expect(sample.references).toHaveLength(references);
      const uuid = task === 'niah_single_3';
      for (const value of sample.references)
        expect(value).toMatch(uuid ? /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/ : /^\d{7}$/);
    }
  });

  it('of the multikey tasks 2 and 3 are made of needles only', async () => {
    for (const task of ['niah_multikey_2', 'niah_multikey_3'] as const) {
      for (const { prompt, references } of await samplesOf(task, 2000)) {
        const lines = prompt.split('\n').slice(1, -1);
        expect(lines.length).toBeGreaterThan(20);
        expect(lines.every((line) => /^A secret (number|code) of \S+ is: \S+\.$/.test(line))).toBe(true);
        expect(lines.filter((line) => line.includes(references[0]))).toHaveLength(1);
      }
    }
  });

  it('of variable tracking have the answer that an interpreter finds', async () => {
    for (const { prompt, references, answerPrefix } of await samplesOf('variable_tracking', 1500)) {
      const own = prompt.slice(prompt.lastIndexOf('Variables are assigned'));
      const value = /have the value (\d+)/.exec(own)?.[1];
      const variables = new Map<string, string | undefined>();
      for (const [, name, source] of own.matchAll(/VAR (\w+) = (?:VAR )?(\w+)\./g)) {
        variables.set(name, /^\d+$/.test(source) ? source : variables.get(source));
      }
      const holders = [...variables].filter(([, held]) => held === value).map(([name]) => name);
      expect(holders.sort()).toEqual([...references].sort());
      expect(references).toHaveLength(5);
      expect(answerPrefix).toContain('5 variables');
    }
  });

  it('of common words have the ten that are counted most often', async () => {
    for (const [length, often, seldom] of [
      [2000, 6, 1],
      [5000, 30, 3],
    ]) {
      for (const { prompt, references } of await samplesOf('common_words_extraction', length)) {
        const list = prompt.slice(prompt.lastIndexOf('Keep count'));
        const counts = new Map<string, number>();
        for (const [, word] of list.matchAll(/\d+\. ([a-z]+)/g)) counts.set(word, (counts.get(word) ?? 0) + 1);
        for (const [word, count] of counts) expect(count).toBe(references.includes(word) ? often : seldom);
        expect(references).toHaveLength(10);
        expect(counts.size).toBeGreaterThan(10);
      }
    }
  });

  it('of frequent words have the three that are counted most often, after a zeta law', async () => {
    for (const { prompt, references } of await samplesOf('frequent_words_extraction', 4096)) {
      const counts = new Map<string, number>();
      for (const word of prompt.split('\n')[1].split(' ')) counts.set(word, (counts.get(word) ?? 0) + 1);
      const ranked = [...counts].sort(([, a], [, b]) => b - a);
      expect(ranked[0][0]).toBe('...');
      expect(
        ranked
          .slice(1, 4)
          .map(([word]) => word)
          .sort(),
      ).toEqual([...references].sort());
      expect(ranked[3][1]).toBeGreaterThan(ranked[4][1]);
      // alpha = 2: the second rank has a quarter of the first.
      expect(ranked[1][1] / ranked[0][1]).toBeCloseTo(0.25, 1);
    }
  });

  it('of questions hold the supporting passage among others, each once', async () => {
    const samples = await samplesOf('qa_squad', 1000);
    samples.forEach(({ prompt, references }, index) => {
      const documents = [...prompt.matchAll(/Document \d+:\n(.*)/g)].map(([, text]) => text);
      expect(new Set(documents).size).toBe(documents.length);
      expect(documents.filter((text) => text.includes(references[0]))).toHaveLength(1);
      expect(prompt).toContain(squad[index].question);
      // A passage about the same thing comes before passages about others.
      expect(prompt).toContain(`Town ${index} has a mayor`);
    });
    const places = new Set(
      samples.map(({ prompt, references }) => prompt.slice(0, prompt.indexOf(references[0])).split('Document').length),
    );
    expect(places.size).toBeGreaterThan(1);
  });

  it('say what is missing', async () => {
    await expect(samplesOf('niah_single_2', 1000, { haystack: undefined })).rejects.toMatchObject({
      code: 'HAYSTACK_TOO_SHORT',
    });
    await expect(samplesOf('qa_squad', 1000, { squad: undefined })).rejects.toThrow('loadSquad');
    await expect(samplesOf('niah_single_1', 100)).rejects.toMatchObject({ code: 'CONTEXT_TOO_SHORT' });
  });
});

describe('the sample cache', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'xgen-ruler-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is read instead of counting again, by the hash of what the samples depend on', async () => {
    let counts = 0;
    const options = {
      cacheFolder: folder,
      tokenizerId: 'words',
      countTokens: (prompt: Parameters<typeof countWords>[0]) => {
        counts++;
        return countWords(prompt);
      },
    };
    const made = await samplesOf('niah_single_2', 1000, options);
    const before = counts;
    expect(await samplesOf('niah_single_2', 1000, options)).toEqual(made);
    expect(counts).toBe(before);
    await samplesOf('niah_single_2', 1000, { ...options, haystack: [...prose, 'More.'] });
    await samplesOf('niah_single_2', 1000, { ...options, tokenizerId: 'other' });
    expect(await readdir(folder)).toHaveLength(3);
  });

  it('is refused when damaged', async () => {
    const [name] = await readdir(folder);
    const file = path.join(folder, name);
    const text = await readFile(file, 'utf8');
    for (const damaged of [text.slice(0, -20), text.replace('A secret', 'a secret'), 'nonsense']) {
      await writeFile(file, damaged);
      const again = Promise.all(
        ['words', 'other'].map((tokenizerId) => samplesOf('niah_single_2', 1000, { cacheFolder: folder, tokenizerId })),
      );
      const more = samplesOf('niah_single_2', 1000, {
        cacheFolder: folder,
        tokenizerId: 'words',
        haystack: [...prose, 'More.'],
      });
      const results = await Promise.allSettled([again, more]);
      expect(
        results.some(
          (result) => result.status === 'rejected' && (result.reason as { code: string }).code === 'CACHE_CORRUPT',
        ),
      ).toBe(true);
    }
  });
});

describe('ruler', () => {
  it('gives an oracle full marks, a mute model none, and the mean by length', async () => {
    const all = new Map<string, string[]>();
    for (const task of rulerTaskNames) {
      for (const length of [1200, 2400]) {
        for (const sample of await samplesOf(task, length, { samples: 2, seed: 0 })) {
          all.set(sample.prompt + sample.answerPrefix, sample.references);
        }
      }
    }
    const oracle = fakeModel((prompt) => (all.get(prompt) ?? []).join(', ').toUpperCase());
    const options = { ...sources, lengths: [1200, 2400], samples: 2 };
    const full = await ruler({ ...options, model: oracle });
    expect(full.cells).toHaveLength(26);
    expect(full.cells.every(({ score }) => score.mean === 1)).toBe(true);
    expect(full.byLength).toEqual([
      { length: 1200, mean: 1 },
      { length: 2400, mean: 1 },
    ]);
    const none = await ruler({ ...options, model: fakeModel(() => ''), tasks: ['niah_multivalue', 'qa_squad'] });
    expect(none.byLength[0].mean).toBe(0);
  });
});

describe('scoreRuler', () => {
  it('is the share of references found, and any of them for questions', () => {
    expect(scoreRuler('niah_multivalue', 'the numbers 12 and 34', ['12', '34', '56', '78'])).toBe(0.5);
    expect(scoreRuler('variable_tracking', 'abc DEF', ['ABC', 'def'])).toBe(1);
    expect(scoreRuler('qa_squad', 'It was Paris, I think', ['London', 'paris'])).toBe(1);
    expect(scoreRuler('qa_hotpot', 'no', ['yes'])).toBe(0);
  });
});

describe('the published question files', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'xgen-qa-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('are read as RULER reads them', async () => {
    const file = path.join(folder, 'squad.json');
    const answer = (text: string) => ({ text, answer_start: 0 });
    await writeFile(
      file,
      JSON.stringify({
        version: 'v2.0',
        data: [
          {
            title: 'T',
            paragraphs: [
              {
                context: 'First.',
                qas: [
                  { id: '1', question: 'Q1?', is_impossible: false, answers: [answer('a'), answer('a'), answer('b')] },
                  { id: '2', question: 'Q2?', is_impossible: true, answers: [] },
                ],
              },
              { context: 'Second.', qas: [] },
            ],
          },
        ],
      }),
    );
    expect(await loadSquad(file)).toEqual([
      { question: 'Q1?', answers: ['a', 'b'], supporting: ['First.'], distractors: ['Second.'] },
    ]);
    await writeFile(
      file,
      JSON.stringify([
        { question: 'Q?', answer: 'yes', context: [['T', ['One. ', 'Two.']]], supporting_facts: [['T', 0]] },
      ]),
    );
    expect(await loadHotpot(file)).toEqual([{ question: 'Q?', answers: ['yes'], supporting: ['T\nOne. Two.'] }]);
    await expect(loadSquad(file)).rejects.toMatchObject({ code: 'INVALID_DATA' });
    await expect(loadSquad(path.join(folder, 'none.json'))).rejects.toMatchObject({ code: 'INVALID_DATA' });
  });
});
