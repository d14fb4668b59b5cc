import { describe, expect, it } from 'vitest';
import { permutedIndex } from './permutation.js';

describe('permutedIndex', () => {
  it.each([1, 2, 3, 7, 64, 1000, 65_537])('is a bijection of [0, %i)', (size) => {
    for (const key of [0, 1, 0xdeadbeef]) {
      const seen = new Set(Array.from({ length: size }, (_, index) => permutedIndex(index, size, key)));
      expect(seen.size).toBe(size);
      expect(Math.min(...seen)).toBe(0);
      expect(Math.max(...seen)).toBe(size - 1);
    }
  });

  it('stays inside a large space and differs by key', () => {
    const size = 2 ** 47 + 12_345;
    const values = Array.from({ length: 1000 }, (_, index) => permutedIndex(index, size, 1));
    expect(new Set(values).size).toBe(1000);
    expect(values.every((value) => Number.isSafeInteger(value) && value >= 0 && value < size)).toBe(true);
    expect(values).not.toEqual(Array.from({ length: 1000 }, (_, index) => permutedIndex(index, size, 2)));
  });
});
