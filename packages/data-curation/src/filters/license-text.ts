/**
 * Licence texts: files that are a licence, and nothing else. They repeat by the hundred, and near-duplicate removal would keep one
 * for every spelling of a copyright line. A file is recognised by its name, or by holding enough phrases that only licences
 * use for its length. Cost: one pass over the text, lower-cased, when it is short enough to be a licence.
 */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep } from './filter.js';

export const licenseTextFilterSchema = z.strictObject({
  filter: z.literal('licenseText'),
  domains: z.array(z.string()).optional(),
  /** Longer documents are not licences, whatever they quote. */
  maximumCharacters: z.int().min(1).default(40_000),
  /** Phrases of licences for each 1,000 characters. */
  minimumPhrasesPer1000: z.number().min(0).default(1.2),
});

const licenseNames =
  /(?:^|\/)(?:licen[cs]es?|copying|copyright|notice|unlicense|third[-_]?party[-_]?(?:notices?|licenses?))(?:[-_.][\w.-]*)?$/i;
const notLicenseNames = /\.(?:[cm]?[jt]sx?|py|rs|go|java|cc?|cpp|h|hpp)$/i;
const phrases = [
  'permission is hereby granted',
  'without warranty of any kind',
  'redistribution and use in source and binary forms',
  'redistributions of source code must retain',
  'redistributions in binary form must reproduce',
  'the above copyright notice',
  'in no event shall',
  'fitness for a particular purpose',
  'merchantability',
  'terms and conditions for use, reproduction, and distribution',
  'subject to the terms and conditions of this license',
  'limitation of liability',
  'licensed under the apache license',
  'gnu general public license',
  'gnu lesser general public license',
  'mozilla public license',
  'permission to use, copy, modify, and/or distribute',
  'this software is provided',
  'conditions of this license',
  'derivative works',
  'grant of patent license',
  'all rights reserved',
];

export function licenseTextFilter(options: z.output<typeof licenseTextFilterSchema>): DocumentFilter {
  return {
    name: 'licenseText',
    apply({ path, text }) {
      if (licenseNames.test(path) && !notLicenseNames.test(path)) {
        return { drop: 'licence file name', detail: path.slice(path.lastIndexOf('/') + 1) };
      }
      if (text.length > options.maximumCharacters) return keep;
      const flat = text.toLowerCase().replace(/[\s*/#]+/g, ' ');
      let hits = 0;
      for (const phrase of phrases) if (flat.includes(phrase)) hits++;
      const density = (hits * 1000) / Math.max(1, flat.length);
      return hits >= 2 && density >= options.minimumPhrasesPer1000
        ? { drop: 'licence text', detail: `${hits} phrases of licences in ${flat.length} characters` }
        : keep;
    },
  };
}
