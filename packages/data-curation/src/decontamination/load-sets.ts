/** Reads the evaluation sets of a plan. Memory: their texts, while the index is built. */

import { basename } from 'node:path';
import { CurationError } from '../errors.js';
import type { DecontaminationPlan } from '../plan/reference-schema.js';
import { compressionOf } from '../sources/decompress.js';
import { readLines } from '../sources/line-reader.js';
import type { EvaluationItem } from './ngram-index.js';
import { NgramIndex } from './ngram-index.js';

const maximumLineBytes = 64 * 1024 * 1024;

/** @throws CurationError `INPUT_INVALID` for a set that cannot be read whole: a check with holes is none. */
export async function loadNgramIndex(plan: DecontaminationPlan): Promise<NgramIndex> {
  const items: EvaluationItem[] = [];
  for (const { name, path, fields } of plan.sets) {
    const refuse = (reason: string) =>
      new CurationError('INPUT_INVALID', `The evaluation set ${path}: ${reason}.`, {
        value: path,
        remedy: 'Repair the file, or correct decontamination.sets.',
      });
    for await (const event of readLines(path, compressionOf(basename(path)), maximumLineBytes)) {
      if (event.kind === 'end') continue;
      if (event.kind === 'damage') throw refuse(event.reason);
      if (event.kind === 'long') throw refuse(`line ${event.number} is longer than ${maximumLineBytes} bytes`);
      const line = event.bytes.toString('utf8').trim();
      if (line === '') continue;
      let record: unknown;
      try {
        record = JSON.parse(line);
      } catch {
        throw refuse(`line ${event.number} is not JSON`);
      }
      for (const field of fields) {
        const text = (record as Record<string, unknown> | null)?.[field];
        if (typeof text !== 'string') throw refuse(`line ${event.number} has no text in "${field}"`);
        items.push({ set: name, item: event.number, text });
      }
    }
  }
  return new NgramIndex(items, plan.ngramWords);
}
