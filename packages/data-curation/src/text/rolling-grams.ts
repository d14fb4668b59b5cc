/**
 * 64-bit hashes of all n-grams of a sequence of word hashes, by two rolling polynomials modulo 2^32: one step a word, whatever n.
 */

const factorLow = 0x9e3779b1;
const factorHigh = 0x85ebca6b;

/** Calls `visit(start, low, high)` for each n-gram, in order; never for a sequence shorter than n. */
export function forEachGram(
  words: Int32Array,
  n: number,
  visit: (start: number, low: number, high: number) => void,
): void {
  if (words.length < n) return;
  // The factor of the word that leaves: factor^n.
  let leavingLow = 1;
  let leavingHigh = 1;
  for (let power = 0; power < n; power++) {
    leavingLow = Math.imul(leavingLow, factorLow);
    leavingHigh = Math.imul(leavingHigh, factorHigh);
  }
  let low = 0;
  let high = 0;
  for (let at = 0; at < words.length; at++) {
    const word = words[at];
    const spread = Math.imul(word ^ (word >>> 15), 0x2c1b3c6d);
    low = (Math.imul(low, factorLow) + word) | 0;
    high = (Math.imul(high, factorHigh) + spread) | 0;
    if (at >= n) {
      const left = words[at - n];
      low = (low - Math.imul(leavingLow, left)) | 0;
      high = (high - Math.imul(leavingHigh, Math.imul(left ^ (left >>> 15), 0x2c1b3c6d))) | 0;
    }
    if (at >= n - 1) visit(at - n + 1, mixed(low), mixed(high));
  }
}

function mixed(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x45d9f3b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x27d4eb2f);
  return (hash ^ (hash >>> 13)) >>> 0;
}
