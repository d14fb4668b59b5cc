/** What a task counts, and how counts of tasks add up. Everything is a sum or a choice by smallest hash: order never matters. */

import type { BadInput, CountedBytes, DroppedExample } from '../report/types.js';
import { compareStrings } from '../util/hash.js';

export interface TaskDrop extends CountedBytes {
  examples: (DroppedExample & { rank: number })[];
}

export interface TaskStats {
  read: CountedBytes;
  /** By filter, then reason. */
  drops: Record<string, Record<string, TaskDrop>>;
  /** By filter, then change: documents. */
  changes: Record<string, Record<string, number>>;
  domains: Record<string, CountedBytes>;
  languages: Record<string, CountedBytes>;
  licenses: Record<string, number>;
  sources: Record<string, CountedBytes>;
  badInputs: { counts: Record<string, number>; examples: BadInput[] };
  /** Every document dropped for sharing text with an evaluation item. */
  contaminated: ContaminatedDocument[];
}

export interface ContaminatedDocument {
  id: string;
  set: string;
  item: number;
  matches: number;
}

const maximumBadInputExamples = 200;

export function emptyStats(): TaskStats {
  return {
    read: { documents: 0, textBytes: 0 },
    drops: {},
    changes: {},
    domains: {},
    languages: {},
    licenses: {},
    sources: {},
    badInputs: { counts: {}, examples: [] },
    contaminated: [],
  };
}

export function countInto(
  record: Record<string, CountedBytes>,
  key: string,
  documents: number,
  textBytes: number,
): void {
  const entry = (record[key] ??= { documents: 0, textBytes: 0 });
  entry.documents += documents;
  entry.textBytes += textBytes;
}

/** Counts a dropped document; `describe` is called only if it becomes one of the examples, those of smallest rank. */
export function recordDrop(
  stats: TaskStats,
  filter: string,
  reason: string,
  textBytes: number,
  rank: number,
  describe: () => DroppedExample,
  maximumExamples: number,
): void {
  const drop = ((stats.drops[filter] ??= {})[reason] ??= { documents: 0, textBytes: 0, examples: [] });
  drop.documents++;
  drop.textBytes += textBytes;
  const worst = drop.examples.at(-1);
  if (drop.examples.length >= maximumExamples && (worst === undefined || rank > worst.rank)) return;
  drop.examples = smallestRanks([...drop.examples, { ...describe(), rank }], maximumExamples);
}

export function recordBadInput(stats: TaskStats, location: string, reason: string): void {
  stats.badInputs.counts[reason] = (stats.badInputs.counts[reason] ?? 0) + 1;
  if (stats.badInputs.examples.length < maximumBadInputExamples) stats.badInputs.examples.push({ location, reason });
}

/** Adds `part` to `total`; call in the order of the tasks. */
export function mergeStats(total: TaskStats, part: TaskStats, maximumExamples: number): void {
  total.read.documents += part.read.documents;
  total.read.textBytes += part.read.textBytes;
  for (const key of ['domains', 'languages', 'sources'] as const) {
    for (const [name, count] of Object.entries(part[key]))
      countInto(total[key], name, count.documents, count.textBytes);
  }
  for (const [license, count] of Object.entries(part.licenses)) {
    total.licenses[license] = (total.licenses[license] ?? 0) + count;
  }
  for (const [filter, reasons] of Object.entries(part.drops)) {
    for (const [reason, drop] of Object.entries(reasons)) {
      const entry = ((total.drops[filter] ??= {})[reason] ??= { documents: 0, textBytes: 0, examples: [] });
      entry.documents += drop.documents;
      entry.textBytes += drop.textBytes;
      entry.examples = smallestRanks([...entry.examples, ...drop.examples], maximumExamples);
    }
  }
  for (const [filter, changes] of Object.entries(part.changes)) {
    const entry = (total.changes[filter] ??= {});
    for (const [change, count] of Object.entries(changes)) entry[change] = (entry[change] ?? 0) + count;
  }
  total.contaminated.push(...part.contaminated);
  for (const [reason, count] of Object.entries(part.badInputs.counts)) {
    total.badInputs.counts[reason] = (total.badInputs.counts[reason] ?? 0) + count;
  }
  const room = maximumBadInputExamples - total.badInputs.examples.length;
  total.badInputs.examples.push(...part.badInputs.examples.slice(0, Math.max(0, room)));
}

function smallestRanks<T extends { rank: number; id: string }>(examples: T[], maximum: number): T[] {
  return examples.sort((a, b) => a.rank - b.rank || compareStrings(a.id, b.id)).slice(0, maximum);
}
