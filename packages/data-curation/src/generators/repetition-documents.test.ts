import { describe, expect, it } from 'vitest';
import { CurationError } from '../errors.js';
import { repetitionDocuments } from './repetition-documents.js';

const passagesFrom = [
  'The quick brown fox jumps over the lazy dog while the cat looks on from the old stone wall.',
  'const total = values.reduce((sum, value) => sum + value, 0);\nreturn total / values.length;',
];
const options = { seed: 3, count: 200, passagesFrom, length: [20, 90] as const };

describe('repetitionDocuments', () => {
  it('gives a passage of the sources twice, within the length asked for', () => {
    for (const { text, passage } of repetitionDocuments(options)) {
      expect(text).toBe(`${passage}\n\n${passage}\n`);
      expect(passagesFrom.some((source) => source.includes(passage))).toBe(true);
      expect(text.length).toBeLessThanOrEqual(90 + 2);
    }
  });

  it('gives the same documents for the same seed and others for another', () => {
    expect([...repetitionDocuments(options)]).toEqual([...repetitionDocuments(options)]);
    expect([...repetitionDocuments({ ...options, seed: 4 })]).not.toEqual([...repetitionDocuments(options)]);
  });

  it.each([
    [{ count: -1 }, 'count'],
    [{ length: [4, 8] as const }, 'length'],
    [{ passagesFrom: [''] }, 'passagesFrom'],
  ])('refuses %j', (change, option) => {
    const run = () => [...repetitionDocuments({ ...options, ...change })];
    expect(run).toThrow(CurationError);
    expect(run).toThrow(option);
  });
});
