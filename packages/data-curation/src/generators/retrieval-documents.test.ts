import { describe, expect, it } from 'vitest';
import { prose } from '../../test/corpus.js';
import { defaultRetrievalTemplates, generateRetrievalDocuments } from './retrieval-documents.js';

const filler = [1, 2, 3].map((seed) => prose(seed, 40));

describe('generateRetrievalDocuments', () => {
  it('plants each fact once and answers the questions from them', () => {
    const documents = generateRetrievalDocuments({ seed: 4, count: 100, filler, length: [1500, 4000], questions: 2 });
    for (const { text, facts, questions } of documents) {
      expect(text.length).toBeLessThanOrEqual(4000);
      expect(text.length).toBeGreaterThan(1200);
      const body = text.slice(0, text.indexOf(questions[0].question));
      for (const { name, value, depth } of facts) {
        const fact = `The secret code of ${name} is ${value}.`;
        expect(body.split(fact)).toHaveLength(2);
        expect(depth).toBeGreaterThanOrEqual(0);
        expect(depth).toBeLessThanOrEqual(1);
        expect(body.indexOf(fact) / body.trimEnd().length).toBeCloseTo(depth, 5);
      }
      expect(new Set(facts.map(({ name }) => name)).size).toBe(facts.length);
      expect(questions).toHaveLength(Math.min(2, facts.length));
      for (const { question, answerPrefix, answer, value } of questions) {
        expect(text).toContain(`${question}\n${answerPrefix}${answer}`);
        expect(answer).toBe(` ${value}.`);
      }
    }
    const depths = documents.flatMap(({ facts }) => facts.map(({ depth }) => depth));
    const mean = depths.reduce((sum, depth) => sum + depth, 0) / depths.length;
    expect(mean).toBeGreaterThan(0.4);
    expect(mean).toBeLessThan(0.6);
  });

  it('measures length in the unit it is given', () => {
    const words = (text: string) => text.split(/\s+/).filter(Boolean).length;
    const [document] = generateRetrievalDocuments({
      seed: 1,
      count: 1,
      filler,
      length: 300,
      measure: words,
      facts: [2, 2],
    });
    expect(words(document.text)).toBeLessThanOrEqual(300);
    expect(words(document.text)).toBeGreaterThan(260);
  });

  it('fills documents that measure less as a whole than in pieces', () => {
    // Like a tokenizer that saves a token at each border.
    const words = (text: string) => 2 + text.split(/\s+/).filter(Boolean).length;
    const options = { seed: 3, count: 20, filler, length: 3000, measure: words };
    const shortest = (fillWhole: boolean) =>
      Math.min(...generateRetrievalDocuments({ ...options, fillWhole }).map(({ text }) => words(text)));
    expect(shortest(false)).toBeLessThan(2800);
    expect(shortest(true)).toBeGreaterThan(2980);
    for (const { text, facts } of generateRetrievalDocuments({ ...options, fillWhole: true })) {
      expect(words(text)).toBeLessThanOrEqual(3000);
      for (const { name, value } of facts) expect(text).toContain(`The secret code of ${name} is ${value}.`);
    }
  });

  it('takes other templates', () => {
    const templates = {
      ...defaultRetrievalTemplates,
      fact: '{name} keeps number {value}.',
      answerPrefix: '{name} keeps',
    };
    const [document] = generateRetrievalDocuments({ seed: 1, count: 1, filler, length: 900, templates });
    expect(document.text).toContain(`${document.facts[0].name} keeps number ${document.facts[0].value}.`);
  });

  it('is a function of its options', () => {
    const options = { seed: 9, count: 3, filler, length: 1000 };
    expect(generateRetrievalDocuments(options)).toEqual(generateRetrievalDocuments(options));
  });

  it.each([
    [{ length: 20 }, 'length'],
    [{ filler: [] }, 'filler'],
    [{ facts: [3, 1] as const }, 'facts'],
    [{ questions: 0 }, 'questions'],
    [{ valueDigits: 40 }, 'valueDigits'],
  ])('refuses %o', (change, named) => {
    expect(() => generateRetrievalDocuments({ seed: 1, count: 1, filler, length: 1000, ...change })).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining(named) as string }) as Error,
    );
  });
});
