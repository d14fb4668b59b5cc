/** A small corpus in several files and a plan that uses every stage of a cluster, trimming included. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CurationPlanInput } from '../../src/plan/schema.js';
import { code, prose } from '../corpus.js';

export const inputFiles = 7;

export function inputFile(folder: string, index: number): string {
  return join(folder, `${index}.jsonl`);
}

export async function writeInput(folder: string, documentsPerFile = 24): Promise<CurationPlanInput> {
  const footer = 'This line stands at the end of every page of this site.';
  for (let file = 0; file < inputFiles; file++) {
    const texts = Array.from({ length: documentsPerFile }, (_, index) => {
      const seed = file * documentsPerFile + index;
      // Some documents are copies from the file before.
      return index % 3 === 0 ? code(seed - (index % 2) * documentsPerFile) : `${prose(seed, 10)}${footer}\n`;
    });
    await writeFile(inputFile(folder, file), texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  }
  return {
    sources: Array.from({ length: inputFiles }, (_, index) => ({
      type: 'jsonl',
      name: `s${index}`,
      path: inputFile(folder, index),
      // The language of code needs no n-grams to be loaded, which every task would do.
      domain: 'code',
    })),
    filters: [{ filter: 'length' }, { filter: 'gopherRepetition' }],
    deduplication: { lines: { domains: ['code'] }, substrings: { words: 50, domains: ['code'] } },
    heldout: { fraction: 0.1 },
    mixture: { stages: [{ name: 'broad', budgetTokens: 20_000 }] },
    output: { shardBytes: 40_000 },
  };
}
