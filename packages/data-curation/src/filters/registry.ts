/** All filters: the schema of their options, and how to build one from them. A new filter is one file and two lines here. */

import { z } from 'zod';
import { c4Filter, c4FilterSchema } from './c4.js';
import { dataBlobFilter, dataBlobFilterSchema } from './data-blob.js';
import type { DocumentFilter } from './filter.js';
import { finewebFilter, finewebFilterSchema } from './fineweb.js';
import { generatedCodeFilter, generatedCodeFilterSchema } from './generated-code.js';
import { gopherQualityFilter, gopherQualityFilterSchema } from './gopher-quality.js';
import { gopherRepetitionFilter, gopherRepetitionFilterSchema } from './gopher-repetition.js';
import { languageFilter, languageFilterSchema } from './language.js';
import { lengthFilter, lengthFilterSchema } from './length.js';
import { licenseFilter, licenseFilterSchema } from './license.js';
import { licenseTextFilter, licenseTextFilterSchema } from './license-text.js';
import { minifiedCodeFilter, minifiedCodeFilterSchema } from './minified-code.js';
import { personalDataFilter, personalDataFilterSchema } from './personal-data.js';

export const filterSchema = z.discriminatedUnion('filter', [
  lengthFilterSchema,
  languageFilterSchema,
  licenseFilterSchema,
  licenseTextFilterSchema,
  gopherQualityFilterSchema,
  gopherRepetitionFilterSchema,
  c4FilterSchema,
  finewebFilterSchema,
  generatedCodeFilterSchema,
  minifiedCodeFilterSchema,
  dataBlobFilterSchema,
  personalDataFilterSchema,
]);

export type FilterPlan = z.output<typeof filterSchema>;
export type FilterPlanInput = z.input<typeof filterSchema>;

export function createFilter(plan: FilterPlan): DocumentFilter {
  switch (plan.filter) {
    case 'length':
      return lengthFilter(plan);
    case 'language':
      return languageFilter(plan);
    case 'license':
      return licenseFilter(plan);
    case 'licenseText':
      return licenseTextFilter(plan);
    case 'gopherQuality':
      return gopherQualityFilter(plan);
    case 'gopherRepetition':
      return gopherRepetitionFilter(plan);
    case 'c4':
      return c4Filter(plan);
    case 'fineweb':
      return finewebFilter(plan);
    case 'generatedCode':
      return generatedCodeFilter(plan);
    case 'minifiedCode':
      return minifiedCodeFilter(plan);
    case 'dataBlob':
      return dataBlobFilter(plan);
    case 'personalData':
      return personalDataFilter(plan);
  }
}

/** The filters of a plan that names none: everything by kind of text, with thresholds fit for documentation as prose. */
export function defaultFilters(): FilterPlanInput[] {
  const prose = ['documentation', 'other'];
  const code = ['code'];
  return [
    { filter: 'length' },
    { filter: 'licenseText' },
    { filter: 'language', domains: prose },
    { filter: 'gopherQuality', domains: prose, minimumWords: 30, minimumAlphabeticWords: 0.6 },
    { filter: 'gopherRepetition', domains: prose },
    { filter: 'fineweb', domains: ['other'] },
    { filter: 'generatedCode', domains: code },
    { filter: 'minifiedCode', domains: code },
    { filter: 'dataBlob', domains: ['code', 'documentation', 'other'] },
    { filter: 'personalData', domains: ['code', 'documentation', 'other'] },
  ];
}
