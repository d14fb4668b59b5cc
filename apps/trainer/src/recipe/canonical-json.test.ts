import { describe, expect, it } from 'vitest';
import { canonicalJson, changedKeys } from './canonical-json.js';

describe('canonicalJson', () => {
  it('does not depend on the order of keys, and keeps the order of arrays', () => {
    expect(canonicalJson({ b: [2, 1], a: { d: 1, c: 2 } })).toBe('{"a":{"c":2,"d":1},"b":[2,1]}');
  });
});

describe('changedKeys', () => {
  it('names the paths that differ', () => {
    expect(changedKeys({ a: 1, b: { c: [1, 2] }, d: 4 }, { a: 1, b: { c: [1, 3] }, e: 5 })).toEqual([
      'b.c.1',
      'd',
      'e',
    ]);
  });
  it('is empty for equal values whatever their key order', () => {
    expect(changedKeys({ a: 1, b: 2 }, { b: 2, a: 1 })).toEqual([]);
  });
});
