import { describe, expect, it } from 'vitest';
import { formatBytes, formatCount, formatDuration, formatTable } from './format.js';

describe('formatting', () => {
  it.each([
    [0, '0'],
    [999, '999'],
    [1.234, '1.23'],
    [12_345, '12.3 k'],
    [1_234_567, '1.23 M'],
    [4.2e9, '4.20 G'],
  ])('counts %d as %s', (value, text) => expect(formatCount(value)).toBe(text));

  it.each([
    [0.5, '0.5 s'],
    [45, '45 s'],
    [200, '3 min 20 s'],
    [7500, '2 h 05 min'],
    [Infinity, 'unknown'],
  ])('says %d seconds as %s', (value, text) => expect(formatDuration(value)).toBe(text));

  it('gives bytes in binary units', () => {
    expect(formatBytes(512)).toBe('512 B');
    expect(formatBytes(3 * 2 ** 20)).toBe('3.0 MiB');
  });

  it('aligns columns: the first to the left, the others to the right', () => {
    expect(
      formatTable([
        ['a', '1'],
        ['bcd', '234'],
      ]),
    ).toBe('  a      1\n  bcd  234');
  });
});
