/**
 * From target shares to weights. A document's weight is how often one pass over the mixture uses it: the weight of its duplicate
 * count times a factor of its domain, capped at `maximumRepeats`. The factors are such that each domain gets its share of the
 * weighted bytes; where the cap keeps a domain from reaching it, the whole pass shrinks, so that the shares stay true.
 * Cost: a bisection over (domain, duplicate count) groups, never over documents.
 */

import type { KnownWeightCurve } from './weight-curves.js';
import { weightForCount } from './weight-curves.js';

export interface MixtureGroup {
  domain: string;
  duplicates: number;
  documents: number;
  textBytes: number;
}

export interface MixturePlan {
  targets?: Readonly<Record<string, number>>;
  weightCurve: KnownWeightCurve;
  maximumRepeats: number;
  budgetBytes?: number;
}

export interface MixtureSolution {
  /** Weighted bytes of one pass. */
  totalBytes: number;
  /** Weighted bytes that would have been wanted without the cap on repeats. */
  wantedBytes: number;
  /** Domain whose cap made the pass smaller. */
  limitingDomain?: string;
  weightOf(domain: string, duplicates: number): number;
}

export function solveMixture(groups: readonly MixtureGroup[], plan: MixturePlan): MixtureSolution {
  const curved = (duplicates: number) => Math.min(plan.maximumRepeats, weightForCount(plan.weightCurve, duplicates));
  const byDomain = new Map<string, MixtureGroup[]>();
  for (const group of groups) {
    const list = byDomain.get(group.domain) ?? [];
    list.push(group);
    byDomain.set(group.domain, list);
  }
  const available = (domain: string) =>
    (byDomain.get(domain) ?? []).reduce((sum, group) => sum + group.textBytes * curved(group.duplicates), 0);
  const domains = [...byDomain.keys()].sort();
  const naturalTotal = domains.reduce((sum, domain) => sum + available(domain), 0);
  const targets = resolveTargets(domains, available, naturalTotal, plan.targets);
  const wantedBytes = plan.budgetBytes ?? naturalTotal;
  let totalBytes = wantedBytes;
  let limitingDomain: string | undefined;
  for (const [domain, share] of targets) {
    const capacity =
      (byDomain.get(domain) ?? []).reduce((sum, group) => sum + group.textBytes, 0) * plan.maximumRepeats;
    if (share > 0 && share * totalBytes > capacity) {
      totalBytes = capacity / share;
      limitingDomain = domain;
    }
  }
  const factors = new Map(
    [...targets].map(([domain, share]) => [
      domain,
      findFactor(byDomain.get(domain) ?? [], curved, share * totalBytes, plan.maximumRepeats),
    ]),
  );
  return {
    totalBytes,
    wantedBytes,
    limitingDomain,
    weightOf: (domain, duplicates) =>
      roundWeight(Math.min(plan.maximumRepeats, curved(duplicates) * (factors.get(domain) ?? 0))),
  };
}

function resolveTargets(
  domains: readonly string[],
  available: (domain: string) => number,
  total: number,
  wanted: Readonly<Record<string, number>> | undefined,
): Map<string, number> {
  if (wanted === undefined) {
    return new Map(domains.map((domain) => [domain, total === 0 ? 0 : available(domain) / total]));
  }
  // A domain without documents cannot have a share: the others keep their proportions.
  const present = Object.entries(wanted).filter(([domain, share]) => share > 0 && available(domain) > 0);
  const sum = present.reduce((all, [, share]) => all + share, 0);
  return new Map(present.map(([domain, share]) => [domain, share / sum]));
}

/** The factor f with sum of bytes x min(cap, f x curve) = wanted; the sum rises with f, so a bisection finds it. */
function findFactor(
  groups: readonly MixtureGroup[],
  curved: (duplicates: number) => number,
  wanted: number,
  cap: number,
): number {
  const used = (factor: number) =>
    groups.reduce((sum, group) => sum + group.textBytes * Math.min(cap, factor * curved(group.duplicates)), 0);
  if (groups.length === 0 || wanted <= 0) return 0;
  let low = 0;
  let high = 1;
  while (used(high) < wanted && high < 2 ** 40) high *= 2;
  for (let step = 0; step < 100; step++) {
    const middle = (low + high) / 2;
    if (used(middle) < wanted) low = middle;
    else high = middle;
  }
  return high;
}

/** Six significant digits: what is written does not depend on the last bits of a sum. */
function roundWeight(weight: number): number {
  return Number(weight.toPrecision(6));
}
