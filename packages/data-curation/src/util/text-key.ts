/** 64-bit keys of strings as two 32-bit numbers, which cost no allocation. Not against an adversary. */

export function keyOf(text: string): { low: number; high: number } {
  let low = 0x811c9dc5;
  let high = 0x9747b28c;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    low = Math.imul(low ^ code, 0x01000193);
    high = Math.imul(high ^ code, 0x85ebca6b);
    high ^= high >>> 13;
  }
  low = Math.imul(low ^ (low >>> 16), 0x45d9f3b);
  high = Math.imul(high ^ (high >>> 15), 0x2c1b3c6d);
  return { low: (low ^ (low >>> 15)) >>> 0, high: (high ^ (high >>> 13)) >>> 0 };
}

/** A number for maps: unique below 2^53 for practical purposes (21 bits of one half, all of the other). */
export function packKey(low: number, high: number): number {
  return (high & 0x1fffff) * 2 ** 32 + low;
}
