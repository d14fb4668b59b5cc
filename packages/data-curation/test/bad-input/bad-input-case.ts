/** What a case of bad input is, and what several of its tables need. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CurationPlanInput } from '../../src/plan/schema.js';

export type SourceInput = CurationPlanInput['sources'][number];
/** What stands after `<source>:` in an id or a location: a file, or a file and `#` with a line, row or record. */
export type Place = string;

export interface BadInputCase {
  /** The source's name. */
  name: string;
  source: Pick<SourceInput, 'type'> & Partial<SourceInput>;
  write: (folder: string) => Promise<void>;
  /** Done to the input after its inventory was taken and before it is read. */
  meanwhile?: (folder: string) => void;
  /** Bad input: place → reason. */
  bad: Record<Place, string | RegExp>;
  /** Dropped and counted, with either setting: `<filter>: <reason>` → documents. */
  drops?: Record<string, number>;
  /** Every document that is kept. */
  kept: Place[];
  /** Takes the bad input away. */
  repair: (folder: string) => Promise<void>;
}

export const numbered = (file: string, from: number, to: number, without: readonly number[] = []): Place[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index)
    .filter((number) => !without.includes(number))
    .map((number) => `${file}#${number}`);

export const remove =
  (...names: string[]) =>
  async (folder: string) => {
    for (const name of names) await rm(join(folder, name), { recursive: true, force: true });
  };
