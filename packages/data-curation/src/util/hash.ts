/** Seeded hashes used for choices that must not depend on order: sampling, splitting, examples. */

import { createHash } from 'node:crypto';

/** Uniform in [0, 2^32), a function of the strings only. Cost: one SHA-256. */
export function hash32(...parts: readonly (string | number)[]): number {
  return createHash('sha256').update(parts.join('\u0000')).digest().readUInt32BE(0);
}

/** Uniform in [0, 2^48). */
export function hash48(...parts: readonly (string | number)[]): number {
  return createHash('sha256').update(parts.join('\u0000')).digest().readUIntBE(0, 6);
}

/** Orders strings by UTF-16 code units, the same on every machine (localeCompare is not). */
export function compareStrings(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
