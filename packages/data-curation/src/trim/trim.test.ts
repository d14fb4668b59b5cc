import { describe, expect, it } from 'vitest';
import { wordHashes } from '../text/word-hashes.js';
import { seededRandom } from '../util/permutation.js';
import { keyedLines } from './line-keys.js';
import { removeRanges, wordRanges } from './remove-ranges.js';
import { winnow } from './winnowing.js';

const random = seededRandom(12);
const words = (count: number, vocabulary = 5000) =>
  Array.from({ length: count }, () => `w${Math.floor(random() * vocabulary)}`);

describe('winnow', () => {
  it('never misses a shared run of n + window - 1 words, and is sparse', () => {
    let chosen = 0;
    let total = 0;
    for (let turn = 0; turn < 300; turn++) {
      const shared = words(50);
      const a = [...words(turn % 70), ...shared, ...words(90)];
      const b = [...words((turn * 7) % 110), ...shared, ...words(30)];
      const prints = (list: string[]) =>
        winnow(wordHashes(list.join(' ')), 25, 26).map(({ low, high }) => `${low}:${high}`);
      const left = new Set(prints(a));
      expect(prints(b).some((print) => left.has(print))).toBe(true);
      chosen += left.size;
      total += a.length;
    }
    expect(chosen / total).toBeLessThan(0.12);
    expect(winnow(wordHashes(words(49).join(' ')), 25, 26)).toEqual([]);
  });
});

describe('removeRanges', () => {
  it.each([
    ['nothing', 'one two', [], 'one two'],
    ['a word in the middle', 'one two three', [[4, 7]], 'one  three'],
    ['without leaving words stuck together', 'one-two', [[3, 4]], 'one two'],
    ['a line', 'a\nb\nc\n', [[2, 4]], 'a\nc\n'],
    [
      'overlapping ranges in any order',
      'abcdefgh',
      [
        [4, 6],
        [1, 3],
        [2, 5],
      ],
      'a gh',
    ],
    ['across lines', 'one two\nthree four', [[4, 13]], 'one  four'],
    ['everything', 'one two\n', [[0, 7]], ''],
    ['leaving no long gaps', 'a\n\nb\n\nc', [[3, 4]], 'a\n\nc'],
  ] as const)('cuts %s', (_, text, ranges, expected) => {
    expect(removeRanges(text, ranges)).toBe(expected);
  });
});

describe('words and lines', () => {
  it('gives each hashed word its range, also where lower-casing changes lengths', () => {
    for (const text of ['One, two_3 (four)', 'İstanbul İ x ﬁn Straße ǅ', 'ΑΣ σ', '漢字 and 🙂 more', '']) {
      expect(wordRanges(text)).toHaveLength(wordHashes(text).length);
    }
    expect([...wordHashes('İSTANBUL')]).toEqual([...wordHashes('İstanbul')]);
  });

  it('keys lines by their text without blanks around it', () => {
    const lines = keyedLines('  a longer line here \nshort\na longer line here', 10);
    expect(lines.map(({ start, end }) => [start, end])).toEqual([
      [0, 22],
      [28, 46],
    ]);
    expect(lines[0].low).toBe(lines[1].low);
    expect(lines[0].high).toBe(lines[1].high);
  });
});
