import { describe, expect, it } from 'vitest';
import { seededRandom } from '../random.js';
import { Filler, insertSentences, nearestBoundary } from './filler.js';
import { fitTokens, fitTokensExactly } from './fit-tokens.js';
import { adjectives, nouns, singleWords } from './words.js';

describe('fitTokens', () => {
  it('finds the largest size that fits, in few counts, for linear and bent counts', () => {
    for (const bend of [1, 0.8, 1.2]) {
      for (const target of [10, 101, 4096, 100_000]) {
        let counts = 0;
        const count = (size: number): number => {
          counts++;
          return 7 + Math.floor((size * 0.3) ** bend);
        };
        const { size, tokens } = fitTokens({ count, target, maximum: 50_000_000, what: 'test' });
        expect(tokens).toBeLessThanOrEqual(target);
        expect(tokens === target || count(size + 1) > target).toBe(true);
        expect(counts).toBeLessThan(60);
      }
    }
  });

  it('refuses what cannot fit', () => {
    expect(() => fitTokens({ count: () => 50, target: 49, maximum: 10, what: 'A prompt' })).toThrow(
      'A prompt takes 50 tokens without any filler, and only 49 are allowed.',
    );
  });

  it('looks around where counts jump over the target', () => {
    // Every tenth character costs three tokens at once, but one in between is worth a single token.
    const count = (size: number): number => 3 * Math.floor(size / 10) + (size % 10 === 5 ? 1 : 0);
    expect(fitTokensExactly({ count, target: 100, maximum: 1000, what: 'test' })).toMatchObject({ tokens: 100 });
    expect(fitTokens({ count, target: 101, maximum: 1000, what: 'test' }).tokens).toBeLessThanOrEqual(101);
  });
});

describe('Filler', () => {
  it('goes through all documents before it repeats one, and cuts no character in two', () => {
    const documents = ['alpha', 'beta', '', '🙂🙂🙂'];
    const filler = new Filler(documents, seededRandom(1, 'x'));
    const text = filler.take(200);
    for (const document of ['alpha', 'beta', '🙂🙂🙂']) {
      const parts = text.split('\n\n').slice(0, 3);
      expect(parts).toContain(document);
    }
    for (let length = 1; length < 60; length++) expect(filler.take(length)).not.toMatch(/[\ud800-\udbff]$/);
    expect(text.startsWith(filler.take(50))).toBe(true);
    expect(() => new Filler(['', ' '], seededRandom(1))).toThrow('holds no text');
  });
});

describe('boundaries', () => {
  const text = 'First one. Second one! Third?\nFourth line without end';
  it('lie where a sentence or line begins', () => {
    const starts = [0, 11, 23, 30];
    for (let offset = 0; offset < 40; offset++) expect(starts).toContain(nearestBoundary(text, offset));
    expect(nearestBoundary(text, text.length)).toBe(text.length);
    expect(nearestBoundary('x'.repeat(9000), 4500)).toBe(4500);
    expect(nearestBoundary('word '.repeat(2000), 5001)).toBe(5000);
  });

  it('take sentences in without gluing words together', () => {
    expect(insertSentences(text, [{ offset: 11, sentence: 'HERE.' }])).toBe(text.replace('Second', 'HERE. Second'));
    expect(
      insertSentences('abc', [
        { offset: 0, sentence: 'A.' },
        { offset: 3, sentence: 'B.' },
      ]),
    ).toBe('A. abc B.');
    expect(
      insertSentences('ab', [
        { offset: 1, sentence: 'X.' },
        { offset: 1, sentence: 'Y.' },
      ]),
    ).toBe('a X. Y. b');
    expect(insertSentences('', [{ offset: 0, sentence: 'X.' }])).toBe('X.');
  });
});

describe('the word lists', () => {
  it('hold plain words, each once, enough for every task', () => {
    for (const list of [adjectives, nouns, singleWords]) {
      expect(new Set(list).size).toBe(list.length);
      expect(list.filter((word) => !/^[a-z]{2,12}$/.test(word))).toEqual([]);
    }
    expect(adjectives.length * nouns.length).toBeGreaterThan(80_000);
    expect(singleWords.length).toBeGreaterThan(800);
  });
});
