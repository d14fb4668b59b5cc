/**
 * The repetition rules of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1): shares of duplicate lines and paragraphs, by
 * count and by characters; the share of the most frequent 2-, 3- and 4-gram; the share of duplicate 5- to 10-grams, where
 * overlapping occurrences are counted once. A first occurrence is not a duplicate; an n-gram that occurs once is not frequent.
 * Cost: 9 n-gram counts a word (about 10 ns each), the dominant cost among the prose filters.
 */

import { z } from 'zod';
import { NgramCounter } from '../text/ngram-counter.js';
import type { DocumentFilter } from './filter.js';
import { keep, percent } from './filter.js';

const share = (value: number) => z.number().min(0).max(1).default(value);

export const gopherRepetitionFilterSchema = z.strictObject({
  filter: z.literal('gopherRepetition'),
  domains: z.array(z.string()).optional(),
  maximumDuplicateLines: share(0.3),
  maximumDuplicateParagraphs: share(0.3),
  maximumDuplicateLineCharacters: share(0.2),
  maximumDuplicateParagraphCharacters: share(0.2),
  /** Limit on the character share of the most frequent n-gram, by n. */
  maximumTopNgram: z.strictObject({ 2: share(0.2), 3: share(0.18), 4: share(0.16) }).prefault({}),
  /** Limit on the character share of all duplicate n-grams, by n. */
  maximumDuplicateNgrams: z
    .strictObject({ 5: share(0.15), 6: share(0.14), 7: share(0.13), 8: share(0.12), 9: share(0.11), 10: share(0.1) })
    .prefault({}),
});

export function gopherRepetitionFilter(options: z.output<typeof gopherRepetitionFilterSchema>): DocumentFilter {
  const counter = new NgramCounter();
  return {
    name: 'gopherRepetition',
    apply(document) {
      const { text, words } = document;
      const lines = document.lines.filter((line) => line.trim() !== '');
      const lineRepeats = repeats(lines);
      if (lineRepeats.count > options.maximumDuplicateLines * lines.length) {
        return { drop: 'duplicate lines', detail: percent(lineRepeats.count / lines.length) };
      }
      if (lineRepeats.characters > options.maximumDuplicateLineCharacters * text.length) {
        return { drop: 'duplicate line characters', detail: percent(lineRepeats.characters / text.length) };
      }
      const paragraphs = text.trim().split(/\n{2,}/);
      const paragraphRepeats = repeats(paragraphs);
      if (paragraphRepeats.count > options.maximumDuplicateParagraphs * paragraphs.length) {
        return { drop: 'duplicate paragraphs', detail: percent(paragraphRepeats.count / paragraphs.length) };
      }
      if (paragraphRepeats.characters > options.maximumDuplicateParagraphCharacters * text.length) {
        return { drop: 'duplicate paragraph characters', detail: percent(paragraphRepeats.characters / text.length) };
      }
      const { ids, ends } = wordIds(words);
      for (const n of [2, 3, 4] as const) {
        const top = topNgramCharacters(counter, ids, ends, n) / text.length;
        if (top > options.maximumTopNgram[n]) return { drop: `frequent ${n}-gram`, detail: percent(top) };
      }
      for (const n of [5, 6, 7, 8, 9, 10] as const) {
        const duplicated = duplicateNgramCharacters(counter, ids, ends, n) / text.length;
        if (duplicated > options.maximumDuplicateNgrams[n]) {
          return { drop: `duplicate ${n}-grams`, detail: percent(duplicated) };
        }
      }
      return keep;
    },
  };
}

/** Pieces that have occurred before, and their characters. */
function repeats(pieces: readonly string[]): { count: number; characters: number } {
  const seen = new Set<string>();
  let count = 0;
  let characters = 0;
  for (const piece of pieces) {
    if (seen.has(piece)) {
      count++;
      characters += piece.length;
    } else {
      seen.add(piece);
    }
  }
  return { count, characters };
}

/** Word → small integer, and the running sum of word lengths (`ends[i]` = characters of words 0 to i). */
function wordIds(words: readonly string[]): { ids: Int32Array; ends: Int32Array } {
  const dictionary = new Map<string, number>();
  const ids = new Int32Array(words.length);
  const ends = new Int32Array(words.length);
  let end = 0;
  for (const [index, word] of words.entries()) {
    let id = dictionary.get(word);
    if (id === undefined) {
      id = dictionary.size;
      dictionary.set(word, id);
    }
    ids[index] = id;
    end += word.length;
    ends[index] = end;
  }
  return { ids, ends };
}

function ngramCharacters(ends: Int32Array, start: number, n: number): number {
  return ends[start + n - 1] - (start === 0 ? 0 : ends[start - 1]);
}

/** Characters of the most frequent n-gram times its count (the first to reach that count wins); 0 if none occurs twice. */
function topNgramCharacters(counter: NgramCounter, ids: Int32Array, ends: Int32Array, n: number): number {
  counter.reset(ids.length);
  let best = 1;
  let characters = 0;
  for (let start = 0; start + n <= ids.length; start++) {
    const count = counter.add(ids, start, n);
    if (count > best) {
      best = count;
      characters = ngramCharacters(ends, start, n) * count;
    }
  }
  return characters;
}

function duplicateNgramCharacters(counter: NgramCounter, ids: Int32Array, ends: Int32Array, n: number): number {
  counter.reset(ids.length);
  let characters = 0;
  for (let start = 0; start + n <= ids.length;) {
    if (counter.add(ids, start, n) > 1) {
      characters += ngramCharacters(ends, start, n);
      start += n;
    } else {
      start++;
    }
  }
  return characters;
}
