/**
 * Data pretending to be text: base64 or hexadecimal blobs, tables of numbers and long literal lists. The blob rule follows
 * StarCoder2's (Lozhkov et al. 2024, arXiv:2402.19173, section 3.2): base64 runs above 1,024 characters, or encoded runs above half the file.
 * Cost: two passes over the text, and one over its lines.
 */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep, percent } from './filter.js';

export const dataBlobFilterSchema = z.strictObject({
  filter: z.literal('dataBlob'),
  domains: z.array(z.string()).optional(),
  maximumEncodedRun: z.int().min(64).default(1024),
  maximumEncodedShare: z.number().min(0).max(1).default(0.5),
  /** Largest share of digits among the characters that are not whitespace. */
  maximumDigits: z.number().min(0).max(1).default(0.4),
  /** Largest share of lines that hold nothing but literals and punctuation; checked from 20 lines on. */
  maximumLiteralLines: z.number().min(0).max(1).default(0.8),
});

const shortestRun = 64;
const escapedRun = /(?:(?:\\x|0x|%)[0-9A-Fa-f]{2}[,\s]*){8,}|(?:\\u[0-9A-Fa-f]{4}){8,}/g;
const stringLiteral = /"[^"]*"|'[^']*'|`[^`]*`/g;
const onlyLiterals = /^[\s\d.,;:+\-()[\]{}]*$/;

/** A line of strings, numbers and punctuation: no name, no operator. */
function isLiteralLine(line: string): boolean {
  const bare = line.replace(stringLiteral, '').replace(/\b(?:true|false|null|0x[\da-f]+|\d+e[+-]?\d+)\b/gi, '');
  return onlyLiterals.test(bare);
}

export function dataBlobFilter(options: z.output<typeof dataBlobFilterSchema>): DocumentFilter {
  return {
    name: 'dataBlob',
    apply(document) {
      const { text, lines } = document;
      const { encoded, longest } = encodedRuns(text);
      if (longest > options.maximumEncodedRun) {
        return { drop: 'encoded blob', detail: `a run of ${longest} characters > ${options.maximumEncodedRun}` };
      }
      if (encoded > options.maximumEncodedShare * text.length) {
        return { drop: 'mostly encoded', detail: percent(encoded / text.length) };
      }
      let digits = 0;
      let solid = 0;
      for (let index = 0; index < text.length; index++) {
        const code = text.charCodeAt(index);
        if (code > 32) solid++;
        if (code >= 48 && code <= 57) digits++;
      }
      if (digits > options.maximumDigits * solid) {
        return { drop: 'mostly digits', detail: percent(digits / Math.max(1, solid)) };
      }
      if (lines.length >= 20) {
        let literals = 0;
        for (const line of lines) if (line.trim() !== '' && isLiteralLine(line)) literals++;
        if (literals > options.maximumLiteralLines * lines.length) {
          return { drop: 'literal table', detail: percent(literals / lines.length) };
        }
      }
      return keep;
    },
  };
}

/** Characters in runs of base64 (64 characters or more) and of escaped bytes, and the longest run. */
function encodedRuns(text: string): { encoded: number; longest: number } {
  let encoded = 0;
  let longest = 0;
  const count = (length: number) => {
    encoded += length;
    longest = Math.max(longest, length);
  };
  let start = 0;
  for (let at = 0; at <= text.length; at++) {
    const code = at < text.length ? text.charCodeAt(at) : 0;
    // a-z, A-Z, / to 9, +
    if ((code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 47 && code <= 57) || code === 43)
      continue;
    if (at - start >= shortestRun && looksEncoded(text.slice(start, at))) count(at - start);
    start = at + 1;
  }
  if (/\\[xu]|0x|%/.test(text)) for (const run of text.matchAll(escapedRun)) count(run[0].length);
  return { encoded, longest };
}

/** Base64 mixes cases and digits; a long lower-case identifier or a path does not. */
function looksEncoded(run: string): boolean {
  return /\d/.test(run) && /[A-Z]/.test(run) && /[a-z]/.test(run);
}
