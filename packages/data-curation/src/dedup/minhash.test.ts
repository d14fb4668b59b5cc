import { describe, expect, it } from 'vitest';
import { seededRandom } from '../util/permutation.js';
import { MinHasher } from './minhash.js';

const plan = { shingleWords: 5, bands: 14, rows: 8, seed: 1 };

function words(count: number, random: () => number): string[] {
  return Array.from({ length: count }, () => `w${Math.floor(random() * 1e9)}`);
}

/** Jaccard similarity of the sets of 5-grams, computed directly. */
function jaccard(a: readonly string[], b: readonly string[]): number {
  const grams = (list: readonly string[]) =>
    new Set(list.slice(4).map((_, index) => list.slice(index, index + 5).join(' ')));
  const [left, right] = [grams(a), grams(b)];
  const shared = [...left].filter((gram) => right.has(gram)).length;
  return shared / (left.size + right.size - shared);
}

describe('MinHasher', () => {
  it('agrees in a share of positions that estimates the Jaccard similarity', () => {
    const hasher = new MinHasher({ ...plan, bands: 64, rows: 16 });
    const random = seededRandom(5);
    for (const shared of [50, 200, 400, 480]) {
      const common = words(shared, random);
      const a = [...common, ...words(500 - shared, random)];
      const b = [...common, ...words(500 - shared, random)];
      const left = hasher.signature(a.join(' '))!;
      const right = hasher.signature(b.join(' '))!;
      const agreement = left.filter((value, index) => value === right[index]).length / left.length;
      const truth = jaccard(a, b);
      // Four standard errors of a share over 1,024 positions.
      expect(Math.abs(agreement - truth)).toBeLessThan(4 * Math.sqrt((truth * (1 - truth)) / 1024));
    }
  });

  it('ignores case, punctuation and spacing, but not digits', () => {
    const hasher = new MinHasher(plan);
    const key = (text: string) => hasher.bandKeys(hasher.signature(text)!).join();
    expect(key('One, two; three (four) FIVE six!')).toBe(key('one two three  four\nfive six'));
    expect(key('Tom has 3 apples and 4 pears')).not.toBe(key('Tom has 3 apples and 5 pears'));
  });

  it('takes a text shorter than a shingle as one shingle, and no word as no signature', () => {
    const hasher = new MinHasher(plan);
    expect(hasher.signature('two words')).toEqual(hasher.signature('Two  words.'));
    expect(hasher.signature(' -- !')).toBeUndefined();
  });

  it('has no key in common between bands of one document or between unrelated documents', () => {
    const hasher = new MinHasher(plan);
    const random = seededRandom(8);
    const keys = Array.from({ length: 200 }, () => [
      ...hasher.bandKeys(hasher.signature(words(300, random).join(' '))!),
    ]).flat();
    expect(new Set(keys).size).toBe(keys.length);
  });
});
