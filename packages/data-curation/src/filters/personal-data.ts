/**
 * Masks personal data and secrets; never drops. E-mail addresses and public IP addresses are replaced as in FineWeb (Penedo et al.
 * 2024, arXiv:2406.17557, section 3.7), keys and tokens as in StarCoder (Li et al. 2023, arXiv:2305.06161, section 4).
 * Replacements are the names and ranges reserved for documentation (RFC 2606, RFC 5737, RFC 3849), so that text stays
 * well-formed. Phone numbers are off by default: the pattern catches other numbers too. Cost: one regular expression a kind.
 */

import { z } from 'zod';
import type { DocumentFilter } from './filter.js';
import { keep } from './filter.js';

export const personalDataFilterSchema = z.strictObject({
  filter: z.literal('personalData'),
  domains: z.array(z.string()).optional(),
  emails: z.boolean().default(true),
  ipAddresses: z.boolean().default(true),
  secrets: z.boolean().default(true),
  phoneNumbers: z.boolean().default(false),
});

const email = /\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b/g;
const reservedDomain = /@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|[\w-]+\.(?:example|test|invalid|localhost))$/i;
const ipv4 = /(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]*\d)/g;
const ipv6 = /(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])/gi;
/** A quick look before the search for addresses. */
const colons = /:[0-9a-f]{1,4}:[0-9a-f]{1,4}:/i;
const secretPatterns: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]{1,20000}?-----END \1-----/g, '<private key>'],
  [/\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g, '<access key>'],
  [/\bgh[pousr]_[A-Za-z0-9]{36,255}\b/g, '<access token>'],
  [/\bxox[abprs]-[A-Za-z0-9-]{10,250}\b/g, '<access token>'],
  [/\bsk-[A-Za-z0-9_-]{20,200}\b/g, '<access token>'],
  [/\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}/g, '<access token>'],
];
const phone = /(?<![\w.+-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)|\d{2,4})[ .-]\d{3,4}[ .-]\d{3,4}(?![\w-])/g;

export function personalDataFilter(options: z.output<typeof personalDataFilterSchema>): DocumentFilter {
  return {
    name: 'personalData',
    apply({ text }) {
      let masked = text;
      if (options.secrets) for (const [pattern, name] of secretPatterns) masked = masked.replace(pattern, name);
      if (options.emails && masked.includes('@')) {
        masked = masked.replace(email, (found) => (reservedDomain.test(found) ? found : 'email@example.com'));
      }
      if (options.ipAddresses) {
        masked = masked.replace(ipv4, (found) => (isPublic(found) ? '192.0.2.1' : found));
        if (colons.test(masked)) masked = masked.replace(ipv6, '2001:db8::1');
      }
      if (options.phoneNumbers) masked = masked.replace(phone, '<phone number>');
      return masked === text ? keep : { text: masked, change: 'personal data masked' };
    },
  };
}

/** Private, local and documentation ranges are no one's address; a first number of 0 to 9 is mostly a version. */
function isPublic(address: string): boolean {
  const [a, b, c] = address.split('.').map(Number);
  if (a < 10 || a === 10 || a === 127 || a >= 224) return false;
  if (a === 172 && b >= 16 && b <= 31) return false;
  if (a === 192 && (b === 168 || (b === 0 && c === 2))) return false;
  return !((a === 169 && b === 254) || (a === 198 && b === 51 && c === 100) || (a === 203 && b === 0 && c === 113));
}
