/**
 * Licence of the document (SPDX identifier as found by the source; `unknown` when none was): keeps what the plan allows.
 * An expression such as `(MIT OR Apache-2.0)` passes if one alternative does. Cost: O(1).
 */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep } from './filter.js';

export const licenseFilterSchema = z.strictObject({
  filter: z.literal('license'),
  domains: z.array(z.string()).optional(),
  allow: z
    .array(z.string())
    .default([
      'MIT',
      'MIT-0',
      'ISC',
      'BSD-2-Clause',
      'BSD-3-Clause',
      '0BSD',
      'Apache-2.0',
      'BlueOak-1.0.0',
      'CC0-1.0',
      'CC-BY-3.0',
      'CC-BY-4.0',
      'Unlicense',
      'Zlib',
      'Python-2.0',
    ]),
  allowUnknown: z.boolean().default(false),
});

export function licenseFilter(options: z.output<typeof licenseFilterSchema>): DocumentFilter {
  const allowed = new Set(options.allow.map((license) => license.toLowerCase()));
  return {
    name: 'license',
    apply({ license }) {
      if (license === 'unknown') {
        return options.allowUnknown ? keep : { drop: 'licence unknown', detail: 'no licence found' };
      }
      return isAllowed(license, allowed) ? keep : { drop: 'licence not allowed', detail: license };
    },
  };
}

/** Evaluates an SPDX expression (`AND` binds tighter than `OR`, parentheses, `WITH` exceptions ignored). */
export function isAllowed(expression: string, allowed: ReadonlySet<string>): boolean {
  const tokens = expression.match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const parseOr = (): boolean => {
    let value = parseAnd();
    while (tokens[at]?.toUpperCase() === 'OR') {
      at++;
      const right = parseAnd();
      value ||= right;
    }
    return value;
  };
  const parseAnd = (): boolean => {
    let value = parseTerm();
    while (tokens[at]?.toUpperCase() === 'AND') {
      at++;
      const right = parseTerm();
      value &&= right;
    }
    return value;
  };
  const parseTerm = (): boolean => {
    const token = tokens[at++];
    if (token === undefined) return false;
    if (token === '(') {
      const value = parseOr();
      if (tokens[at] === ')') at++;
      return value;
    }
    if (tokens[at]?.toUpperCase() === 'WITH') at += 2;
    return allowed.has(token.toLowerCase());
  };
  return parseOr();
}
