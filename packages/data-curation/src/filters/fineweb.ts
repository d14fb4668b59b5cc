/**
 * The rules that FineWeb adds to C4's and Gopher's (Penedo et al. 2024, arXiv:2406.17557, section 3.6): too few lines ending
 * in punctuation (list-like pages), too many characters in duplicated lines, too many short lines. The thresholds are the paper's;
 * datatrove's code has 0.01 for duplicated lines, and a limit on line feeds per word (0.3) that the paper does not name.
 * Lines without text do not count. Cost: one pass over the lines.
 */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep, percent } from './filter.js';

export const finewebFilterSchema = z.strictObject({
  filter: z.literal('fineweb'),
  domains: z.array(z.string()).optional(),
  /** Dropped at or below this share of lines ending in punctuation. */
  minimumPunctuatedLines: z.number().min(0).max(1).default(0.12),
  /** Dropped at or above this share of characters in lines that occurred before. */
  maximumDuplicateLineCharacters: z.number().min(0).max(1).default(0.1),
  /** Dropped at or above this share of lines shorter than `shortLineCharacters`. */
  maximumShortLines: z.number().min(0).max(1).default(0.67),
  shortLineCharacters: z.int().min(1).default(30),
  /** Dropped above this many line feeds for each word; off unless given. */
  maximumLineFeedsPerWord: z.number().positive().optional(),
});

const punctuated = /[.!?。！？…"'”’]$/u;

export function finewebFilter(options: z.output<typeof finewebFilterSchema>): DocumentFilter {
  return {
    name: 'fineweb',
    apply(document) {
      let lines = 0;
      let ending = 0;
      let short = 0;
      let characters = 0;
      let duplicate = 0;
      const seen = new Set<string>();
      for (const line of document.lines) {
        const trimmed = line.trim();
        if (trimmed === '') continue;
        lines++;
        characters += trimmed.length;
        if (punctuated.test(trimmed)) ending++;
        if (trimmed.length < options.shortLineCharacters) short++;
        if (seen.has(trimmed)) duplicate += trimmed.length;
        else seen.add(trimmed);
      }
      if (lines === 0) return { drop: 'empty', detail: 'no line with text' };
      if (ending <= options.minimumPunctuatedLines * lines) {
        return { drop: 'few punctuated lines', detail: percent(ending / lines) };
      }
      if (duplicate >= options.maximumDuplicateLineCharacters * characters) {
        return { drop: 'duplicate line characters', detail: percent(duplicate / characters) };
      }
      if (short >= options.maximumShortLines * lines) {
        return { drop: 'mostly short lines', detail: percent(short / lines) };
      }
      if (options.maximumLineFeedsPerWord !== undefined) {
        const ratio = (document.lines.length - 1) / Math.max(1, document.words.length);
        if (ratio > options.maximumLineFeedsPerWord) {
          return { drop: 'many line feeds', detail: `${ratio.toFixed(2)} a word > ${options.maximumLineFeedsPerWord}` };
        }
      }
      return keep;
    },
  };
}
