/** Length: drops documents too short to teach anything and too long to be one document. Cost: O(1). */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep } from './filter.js';

export const lengthFilterSchema = z.strictObject({
  filter: z.literal('length'),
  domains: z.array(z.string()).optional(),
  /** In UTF-16 code units after trimming. */
  minimumCharacters: z.int().min(0).default(64),
  maximumCharacters: z.int().min(1).default(1_000_000),
});

export function lengthFilter(options: z.output<typeof lengthFilterSchema>): DocumentFilter {
  return {
    name: 'length',
    apply({ text }) {
      const characters = text.trim().length;
      if (characters === 0) return { drop: 'empty', detail: 'no text' };
      if (characters < options.minimumCharacters) {
        return { drop: 'too short', detail: `${characters} characters < ${options.minimumCharacters}` };
      }
      if (characters > options.maximumCharacters) {
        return { drop: 'too long', detail: `${characters} characters > ${options.maximumCharacters}` };
      }
      return keep;
    },
  };
}
