/**
 * Passages that come twice: a piece of text, a blank line, the same piece again. Everything after the blank line can be copied
 * from before it, so a small model learns to look back into its context within its first million tokens (induction heads, Olsson
 * et al. 2022, arXiv 2209.11895). Document `i` is a pure function of (options, i). Cost: linear in the text.
 */

import { CurationError } from '../errors.js';
import { hash32 } from '../util/hash.js';
import { seededRandom } from '../util/permutation.js';

export interface RepetitionDocumentOptions {
  seed: number;
  count: number;
  /** Documents to cut passages from. */
  passagesFrom: readonly string[];
  /** Smallest and largest length of a whole document (both copies), in the unit of `measure`. */
  length: readonly [number, number];
  /** Length of a text; default its characters. */
  measure?: (text: string) => number;
}

export interface RepetitionDocument {
  id: string;
  text: string;
  /** The passage that comes twice. */
  passage: string;
}

/** @throws CurationError `OPTION_INVALID` for a wrong option or no text. */
export function* repetitionDocuments(options: RepetitionDocumentOptions): Generator<RepetitionDocument> {
  const { seed, count, passagesFrom, length } = options;
  const measure = options.measure ?? ((text: string) => text.length);
  const invalid = (option: string, value: unknown, wanted: string) =>
    new CurationError('OPTION_INVALID', `${option} is ${JSON.stringify(value)}.`, { value, remedy: `Give ${wanted}.` });
  if (!Number.isSafeInteger(count) || count < 0) throw invalid('count', count, 'a whole number, 0 or more');
  if (!Number.isSafeInteger(seed) || seed < 0) throw invalid('seed', seed, 'a whole number, 0 or more');
  if (!(length[0] >= 8 && length[1] >= length[0])) throw invalid('length', length, 'a rising range from 8 on');
  const pieces = passagesFrom
    .map((text) => text.split(/(?<=\s)(?=\S)/).filter((piece) => piece.trim() !== ''))
    .filter((words) => words.length >= 4);
  if (pieces.length === 0) {
    throw invalid('passagesFrom', passagesFrom.length, 'at least one document of four words or more');
  }
  for (let index = 0; index < count; index++) {
    const random = seededRandom(hash32('repetition', seed, index));
    const target = length[0] + Math.floor(random() * (length[1] - length[0] + 1));
    const words = pieces[Math.floor(random() * pieces.length)];
    let at = Math.floor(random() * words.length);
    let passage = '';
    let size = 0;
    // The two copies and the blank line between them stay within the target; a document that ends early gives a shorter one.
    for (; at < words.length; at++) {
      const added = measure(words[at]);
      if (2 * (size + added) + 1 > target) break;
      passage += words[at];
      size += added;
    }
    passage = passage.trim();
    if (passage === '') passage = words[0].trim();
    yield { id: `repetition-${seed}-${index}`, text: `${passage}\n\n${passage}\n`, passage };
  }
}
