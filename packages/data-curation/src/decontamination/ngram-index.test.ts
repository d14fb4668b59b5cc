import { describe, expect, it } from 'vitest';
import { forEachGram } from '../text/rolling-grams.js';
import { wordHashes } from '../text/word-hashes.js';
import { seededRandom } from '../util/permutation.js';
import { NgramIndex } from './ngram-index.js';

const random = seededRandom(6);
const text = (count: number, vocabulary: number) =>
  Array.from({ length: count }, () => `w${Math.floor(random() * vocabulary)}`).join(' ');

describe('forEachGram', () => {
  it('gives equal hashes to equal n-grams and different ones to different n-grams', () => {
    const words = text(4000, 6).split(' ');
    const byHash = new Map<string, string>();
    const byGram = new Map<string, string>();
    forEachGram(wordHashes(words.join(' ')), 7, (start, low, high) => {
      const gram = words.slice(start, start + 7).join(' ');
      const hash = `${low}:${high}`;
      expect(byHash.get(hash) ?? gram).toBe(gram);
      expect(byGram.get(gram) ?? hash).toBe(hash);
      byHash.set(hash, gram);
      byGram.set(gram, hash);
    });
    expect(byHash.size).toBeGreaterThan(3000);
  });
});

describe('NgramIndex', () => {
  it('agrees with a search for joined words', () => {
    const items = Array.from({ length: 50 }, (_, index) => ({ set: 'exam', item: index + 1, text: text(40, 400) }));
    const grams = new Set(
      items.flatMap((item) => {
        const words = item.text.split(' ');
        return words.slice(0, -12).map((_, start) => words.slice(start, start + 13).join(' '));
      }),
    );
    const index = new NgramIndex(items, 13);
    let hits = 0;
    for (let turn = 0; turn < 400; turn++) {
      const words = text(60, 400).split(' ');
      // Plant 11 to 15 words of an item.
      const planted = items[turn % items.length].text.split(' ').slice(5, 5 + 11 + (turn % 5));
      words.splice(20, planted.length, ...planted);
      const starts = words.slice(0, -12).map((_, start) => start);
      const expected = starts.filter((start) => grams.has(words.slice(start, start + 13).join(' ')));
      const found = index.find(wordHashes(words.join(' ')));
      expect(found?.matches ?? 0).toBe(expected.length);
      if (found !== undefined) {
        hits++;
        expect(found).toMatchObject({ set: 'exam', item: (turn % items.length) + 1, firstWord: expected[0] });
      }
    }
    expect(hits).toBe(240);
  });

  it('does not mind case, punctuation and spacing, and counts what is too short to look for', () => {
    const index = new NgramIndex(
      [
        { set: 'a', item: 1, text: 'Natalia sold 48 clips in April, and half as many in May.' },
        { set: 'a', item: 2, text: 'Too short.' },
      ],
      11,
    );
    expect(index.find(wordHashes('So: "natalia SOLD 48 clips\nin April — and half as many in May?"'))).toMatchObject({
      item: 1,
    });
    expect(index.find(wordHashes('Natalia sold 49 clips in April, and half as many in May.'))).toBeUndefined();
    expect(index.unchecked).toEqual({ a: 1 });
    expect(index.checked).toEqual({ a: 1 });
  });
});
