import { describe, expect, it } from 'vitest';
import { PseudoRandomPermutation } from './pseudo-random-permutation';

const order = (size: number, label: string): number[] => {
  const permutation = new PseudoRandomPermutation(size, label);
  return Array.from({ length: size }, (_, i) => permutation.at(i));
};

describe('PseudoRandomPermutation', () => {
  it.each([1, 2, 3, 4, 5, 15, 16, 17, 1000, 65_537])('visits each of %d elements once', (size) => {
    expect(order(size, 'seed').sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i));
  });

  it('depends on the label only', () => {
    expect(order(1000, 'a')).toEqual(order(1000, 'a'));
    expect(order(1000, 'a')).not.toEqual(order(1000, 'b'));
  });

  it('stays inside at the largest size', () => {
    const permutation = new PseudoRandomPermutation(2 ** 31, 'large');
    const seen = new Set<number>();
    for (let i = 0; i < 1000; i++) seen.add(permutation.at(2 ** 31 - 1 - i));
    expect(seen.size).toBe(1000);
    expect(Math.min(...seen)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...seen)).toBeLessThan(2 ** 31);
  });

  it('puts every element anywhere: positions over 2,000 labels are uniform (chi-square, 63 degrees of freedom)', () => {
    const size = 64;
    const counts = new Float64Array(size * size);
    const labels = 2000;
    for (let label = 0; label < labels; label++) {
      order(size, `label ${label}`).forEach((element, position) => (counts[element * size + position] += 1));
    }
    const expected = labels / size;
    for (let element = 0; element < size; element++) {
      const row = counts.subarray(element * size, (element + 1) * size);
      const chiSquare = row.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
      expect(chiSquare).toBeLessThan(125); // p ≈ 5e-6 for each of 64 elements
    }
  });

  it('is not correlated between neighbours', () => {
    const values = order(100_000, 'neighbours');
    const mean = (values.length - 1) / 2;
    const variance = (values.length ** 2 - 1) / 12;
    let covariance = 0;
    for (let i = 1; i < values.length; i++) covariance += (values[i] - mean) * (values[i - 1] - mean);
    expect(Math.abs(covariance / (values.length - 1) / variance)).toBeLessThan(0.015);
  });
});
