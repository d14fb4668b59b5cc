/**
 * Minified and packed code, by the rules of The Stack (Kocetkov et al. 2022, arXiv:2211.15533, section 3, after Codex,
 * Chen et al. 2021, section 3.1): a mean line above 100 characters, a line above 1,000, fewer than 25 % letters and digits;
 * and by its share of whitespace, which is below 4 % only in packed text. Cost: one pass over the text.
 */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep, percent } from './filter.js';

export const minifiedCodeFilterSchema = z.strictObject({
  filter: z.literal('minifiedCode'),
  domains: z.array(z.string()).optional(),
  maximumMeanLineCharacters: z.number().min(1).default(100),
  maximumLineCharacters: z.int().min(1).default(1000),
  minimumAlphanumericCharacters: z.number().min(0).max(1).default(0.25),
  minimumWhitespace: z.number().min(0).max(1).default(0.04),
});

export function minifiedCodeFilter(options: z.output<typeof minifiedCodeFilterSchema>): DocumentFilter {
  return {
    name: 'minifiedCode',
    apply(document) {
      const { lines, text } = document;
      let longest = 0;
      for (const line of lines) longest = Math.max(longest, line.length);
      if (longest > options.maximumLineCharacters) {
        return { drop: 'very long line', detail: `${longest} characters > ${options.maximumLineCharacters}` };
      }
      const mean = text.length / Math.max(1, lines.length);
      if (mean > options.maximumMeanLineCharacters) {
        return { drop: 'long lines', detail: `mean ${mean.toFixed(0)} > ${options.maximumMeanLineCharacters}` };
      }
      let whitespace = 0;
      let alphanumeric = 0;
      for (let index = 0; index < text.length; index++) {
        const code = text.charCodeAt(index);
        if (code === 32 || (code >= 9 && code <= 13)) whitespace++;
        else if (
          (code >= 48 && code <= 57) ||
          (code >= 65 && code <= 90) ||
          (code >= 97 && code <= 122) ||
          code > 127
        ) {
          alphanumeric++;
        }
      }
      if (whitespace < options.minimumWhitespace * text.length) {
        return { drop: 'hardly any whitespace', detail: percent(whitespace / text.length) };
      }
      if (alphanumeric < options.minimumAlphanumericCharacters * text.length) {
        return { drop: 'few letters and digits', detail: percent(alphanumeric / text.length) };
      }
      return keep;
    },
  };
}
