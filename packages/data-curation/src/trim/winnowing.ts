/**
 * Winnowed fingerprints (Schleimer, Wilkerson, Aiken 2003): of each window of `window` consecutive n-gram hashes the smallest, the
 * rightmost among equals. Two texts that share `n + window - 1` words in a row share a fingerprint for certain, for about
 * 2 / (window + 1) fingerprints a word.
 */

import { forEachGram } from '../text/rolling-grams.js';

export interface Fingerprint {
  low: number;
  high: number;
}

export function winnow(words: Int32Array, n: number, window: number): Fingerprint[] {
  const lows: number[] = [];
  const highs: number[] = [];
  forEachGram(words, n, (_start, low, high) => {
    lows.push(low);
    highs.push(high);
  });
  const chosen: Fingerprint[] = [];
  let last = -1;
  for (let start = 0; start + window <= lows.length; start++) {
    if (last >= start) {
      // The old smallest is still inside: only the hash that came in can beat it.
      const entered = start + window - 1;
      if (lows[entered] > lows[last]) continue;
      last = entered;
    } else {
      last = start;
      for (let at = start + 1; at < start + window; at++) if (lows[at] <= lows[last]) last = at;
    }
    chosen.push({ low: lows[last], high: highs[last] });
  }
  return chosen;
}
