/**
 * Language of the document: keeps what the plan names. The language itself is found before the filters run (see
 * `text/language.ts`); code carries the name of its programming language. Cost: O(1).
 */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep } from './filter.js';

export const languageFilterSchema = z.strictObject({
  filter: z.literal('language'),
  domains: z.array(z.string()).optional(),
  allow: z.array(z.string()).min(1).default(['en']),
  /** Whether to keep documents whose language is not known (`und`): very short or mostly not words. */
  allowUnknown: z.boolean().default(true),
});

export function languageFilter(options: z.output<typeof languageFilterSchema>): DocumentFilter {
  const allowed = new Set(options.allow);
  return {
    name: 'language',
    apply({ language }) {
      if (language === 'und' && options.allowUnknown) return keep;
      return allowed.has(language) ? keep : { drop: 'other language', detail: language };
    },
  };
}
