import { describe, expect, it } from 'vitest';
import { combineDocumentSources } from './combine-sources';
import { memoryDocumentSource, type MemoryDocument } from './memory-source';

const first: MemoryDocument[] = [
  { tokens: [1, 2, 3], domain: 'text', quality: 0.5, weight: 3 },
  { tokens: [4, 5], domain: 'code', lossMask: Uint8Array.of(0, 1) },
];
const second: MemoryDocument[] = [{ tokens: [6, 7, 8, 9], domain: 'code' }];
const options = { vocabularySize: 10 };

describe('memoryDocumentSource', () => {
  it('holds what it was given', async () => {
    const source = memoryDocumentSource(first, options);
    expect(source).toMatchObject({ domains: ['text', 'code'], documentCount: 2, vocabularySize: 10 });
    expect([source.documentLength(0), source.documentDomain(1), source.documentQuality(0)]).toEqual([3, 1, 0.5]);
    expect([source.documentWeight(0), source.documentWeight(1)]).toEqual([3, 1]);
    expect(Array.from(await source.readTokens(0, 1, 3))).toEqual([2, 3]);
    expect(Array.from(await source.readLossMask!(1, 0, 2))).toEqual([0, 1]);
  });

  it('has a fingerprint of everything that matters', () => {
    const fingerprint = (change: Partial<MemoryDocument>): string =>
      memoryDocumentSource([{ ...first[1], ...change }], options).fingerprint;
    const variants = [
      {},
      { tokens: [4, 6] },
      { domain: 'math' },
      { quality: 1 },
      { weight: 2 },
      { lossMask: Uint8Array.of(1, 1) },
      { lossMask: undefined },
    ];
    expect(new Set(variants.map(fingerprint)).size).toBe(variants.length);
    expect(fingerprint({})).toBe(fingerprint({}));
  });

  it.each([
    [{ tokens: [1, 10] }, /Document 0: token 1 is 10\. Ids are whole numbers from 0 to 9/],
    [{ tokens: [1.5] }, /token 0 is 1\.5/],
    [{ tokens: [] }, /it has no tokens/],
    [{ quality: Number.NaN }, /its quality is NaN/],
    [{ weight: -1 }, /its weight is -1/],
    [{ lossMask: new Uint8Array(5) }, /its loss mask has 5 entries for 3 tokens/],
  ] as [Partial<MemoryDocument>, RegExp][])('refuses %j', (change, message) => {
    expect(() => memoryDocumentSource([{ ...first[0], ...change }], options)).toThrow(message);
    expect(() => memoryDocumentSource(first, options).documentLength(2)).toThrow(/There is no document 2/);
  });
});

describe('combineDocumentSources', () => {
  it('numbers documents through and merges domains by name', async () => {
    const source = combineDocumentSources([
      memoryDocumentSource(second, options),
      memoryDocumentSource(first, options),
    ]);
    expect(source.domains).toEqual(['code', 'text']);
    expect(source.documentCount).toBe(3);
    expect([0, 1, 2].map((i) => source.domains[source.documentDomain(i)])).toEqual(['code', 'text', 'code']);
    expect([0, 1, 2].map((i) => source.documentLength(i))).toEqual([4, 3, 2]);
    expect([0, 1, 2].map((i) => source.documentWeight(i))).toEqual([1, 3, 1]);
    expect([0, 1, 2].map((i) => source.documentQuality(i))).toEqual([0, 0.5, 0]);
    expect(Array.from(await source.readTokens(2, 0, 2))).toEqual([4, 5]);
    expect(Array.from(await source.readLossMask!(2, 0, 2))).toEqual([0, 1]);
  });

  it('refuses sources of different vocabularies, and none', () => {
    const other = memoryDocumentSource(second, { vocabularySize: 11 });
    expect(() => combineDocumentSources([memoryDocumentSource(first, options), other])).toThrow(
      /vocabularies of 10, 11 ids/,
    );
    expect(() => combineDocumentSources([])).toThrow(/vocabularies of no ids/);
  });
});
