import { describe, expect, it } from 'vitest';
import type { MixtureGroup, MixturePlan } from './solver.js';
import { solveMixture } from './solver.js';
import { weightForCount } from './weight-curves.js';

const group = (domain: string, duplicates: number, textBytes: number): MixtureGroup => ({
  domain,
  duplicates,
  documents: 1,
  textBytes,
});

function weightedBytes(groups: readonly MixtureGroup[], plan: MixturePlan): Record<string, number> {
  const solution = solveMixture(groups, plan);
  const totals: Record<string, number> = {};
  for (const { domain, duplicates, textBytes } of groups) {
    totals[domain] = (totals[domain] ?? 0) + textBytes * solution.weightOf(domain, duplicates);
  }
  return totals;
}

describe('solveMixture', () => {
  const groups = [group('a', 1, 6000), group('a', 10, 1000), group('b', 1, 3000), group('b', 200, 50)];

  it('without targets weighs by the duplicate count alone', () => {
    const solution = solveMixture(groups, { weightCurve: 'fineweb2', maximumRepeats: 8 });
    expect(solution.weightOf('a', 1)).toBe(1);
    expect(solution.weightOf('a', 10)).toBe(5);
    expect(solution.weightOf('b', 200)).toBe(8);
    expect(solution.totalBytes).toBe(6000 + 5000 + 3000 + 400);
  });

  it('meets targets and the budget', () => {
    const plan = {
      weightCurve: 'fineweb2',
      maximumRepeats: 8,
      targets: { a: 0.25, b: 0.75 },
      budgetBytes: 20_000,
    } as const;
    const totals = weightedBytes(groups, plan);
    expect(totals.a).toBeCloseTo(5000, -1);
    expect(totals.b).toBeCloseTo(15_000, -1);
  });

  it('never goes above the cap, and shrinks the pass rather than the shares', () => {
    const plan = { weightCurve: 'none', maximumRepeats: 2, targets: { a: 0.1, b: 0.9 }, budgetBytes: 100_000 } as const;
    const solution = solveMixture(groups, plan);
    expect(solution.limitingDomain).toBe('b');
    expect(solution.weightOf('b', 1)).toBe(2);
    expect(solution.totalBytes).toBeCloseTo((3050 * 2) / 0.9, 6);
    const totals = weightedBytes(groups, plan);
    expect(totals.a / (totals.a + totals.b)).toBeCloseTo(0.1, 5);
  });

  it('holds the budget when the cap binds for some documents only', () => {
    const plan = { weightCurve: 'txt360', maximumRepeats: 8, targets: { a: 1 }, budgetBytes: 30_000 } as const;
    const totals = weightedBytes([group('a', 1, 6000), group('a', 2000, 1000)], plan);
    expect(totals.a).toBeCloseTo(30_000, -1);
  });

  it('shares what a domain without documents leaves', () => {
    const totals = weightedBytes(groups, { weightCurve: 'none', maximumRepeats: 8, targets: { a: 0.4, c: 0.6 } });
    expect(totals.b).toBe(0);
    expect(totals.a).toBeGreaterThan(0);
  });
});

describe('weightForCount', () => {
  it.each([
    ['txt360', [1, 2, 5, 6, 100, 101, 1000, 1001, 1e6], [1, 3, 3, 5, 5, 8, 8, 10, 10]],
    ['fineweb2', [1, 2, 3, 4, 5, 99, 100, 999, 1000, 1e6], [1, 2, 3, 3, 5, 5, 8, 8, 1, 1]],
    ['none', [1, 50], [1, 1]],
  ] as const)('%s', (curve, counts, weights) => {
    expect(counts.map((count) => weightForCount(curve, count))).toEqual(weights);
  });
});
