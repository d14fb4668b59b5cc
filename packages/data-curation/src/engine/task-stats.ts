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
  /** By evaluation set: documents dropped for sharing text with one of its items. */
  contaminated: Record<string, number>;
}

/** A line of `decontamination.jsonl`. */
export interface ContaminatedDocument {
  id: string;
  set: string;
  item: number;
  matches: number;
}

const maximumBadInputExamples = 200;
/** Licences and reasons come from the input: without a limit, their list would grow with it. */
const maximumNames = 1000;
export const otherLicenses = 'other licences';
const otherReasons = 'other reasons';

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
    contaminated: {},
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

/** Adds to a count whose names the input chooses; once there are many names, new ones are counted together as `rest`. */
export function countName(counts: Record<string, number>, name: string, count: number, rest: string): void {
  const isKnown = Object.hasOwn(counts, name) || name === rest;
  const key = isKnown || Object.keys(counts).length < maximumNames ? name : rest;
  counts[key] = (Object.hasOwn(counts, key) ? counts[key] : 0) + count;
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
  countName(stats.badInputs.counts, reason, 1, otherReasons);
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
    countName(total.licenses, license, count, otherLicenses);
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
  for (const [set, count] of Object.entries(part.contaminated)) {
    total.contaminated[set] = (total.contaminated[set] ?? 0) + count;
  }
  for (const [reason, count] of Object.entries(part.badInputs.counts)) {
    countName(total.badInputs.counts, reason, count, otherReasons);
  }
  const room = maximumBadInputExamples - total.badInputs.examples.length;
  total.badInputs.examples.push(...part.badInputs.examples.slice(0, Math.max(0, room)));
}

function smallestRanks<T extends { rank: number; id: string }>(examples: T[], maximum: number): T[] {
  return examples.sort((a, b) => a.rank - b.rank || compareStrings(a.id, b.id)).slice(0, maximum);
}
