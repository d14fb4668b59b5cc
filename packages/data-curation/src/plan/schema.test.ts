import { describe, expect, it } from 'vitest';
import { hashPlan, parseCurationPlan } from './schema.js';

const source = { type: 'folder', name: 'docs', path: 'docs' } as const;

describe('parseCurationPlan', () => {
  it('fills in defaults, and is stable when parsed again', () => {
    const plan = parseCurationPlan({ sources: [source] });
    expect(plan.deduplication.near).toEqual({ shingleWords: 5, bands: 14, rows: 8, seed: 1 });
    expect(plan.filters.length).toBeGreaterThan(5);
    expect(hashPlan(parseCurationPlan(structuredClone(plan)))).toBe(hashPlan(plan));
    expect(hashPlan(parseCurationPlan({ sources: [source], seed: 1 }))).not.toBe(hashPlan(plan));
  });

  it.each([
    ['an unknown key', { sources: [source], sed: 1 }, /sed/],
    ['an unknown key in a source', { sources: [{ ...source, pth: 'x' }] }, /pth/],
    ['an unknown filter', { sources: [source], filters: [{ filter: 'gopher' }] }, /filters\.0/],
    [
      'a wrong threshold',
      { sources: [source], filters: [{ filter: 'fineweb', maximumShortLines: 2 }] },
      /maximumShortLines/,
    ],
    ['no source', { sources: [] }, /sources/],
    ['two sources of one name', { sources: [source, source] }, /Two sources are called "docs"/],
    ['targets that do not sum to 1', { sources: [source], mixture: { targets: { code: 0.5 } } }, /sums to 0\.5/],
    [
      'a falling weight curve',
      {
        sources: [source],
        mixture: {
          weightCurve: [
            [1, 1],
            [1, 2],
          ],
        },
      },
      /weightCurve/,
    ],
    ['no object', null, /plan/],
  ])('refuses %s', (_, plan, message) => {
    expect(() => parseCurationPlan(plan)).toThrow(
      expect.objectContaining({ code: 'PLAN_INVALID', message: expect.stringMatching(message) as string }) as Error,
    );
  });
});
