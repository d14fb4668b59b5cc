// Tokens that a decoder can learn to predict in part: a seeded process of the second order over a vocabulary with Zipf's frequencies.
//
// Half of the tokens follow from the two before them, the others are drawn: so the loss falls far below that of random tokens, and never
// comes near zero, where a relative difference says nothing.

/** Uniform in [0, 1), 32 bits, the same on every machine: xorshift (Marsaglia 2003). */
export function createUniform(seed) {
  let state = (seed * 0x9e3779b1) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** `sequences` sequences of `length` tokens below `vocabulary`: int32, end to end. */
export function createTokens({ vocabulary, sequences, length, seed }) {
  const uniform = createUniform(seed);
  const cumulative = new Float64Array(vocabulary);
  let sum = 0;
  for (let rank = 0; rank < vocabulary; rank++) cumulative[rank] = sum += 1 / (rank + 1);
  /** The token at a quantile of the distribution. */
  const at = (quantile) => {
    let [low, high] = [0, vocabulary - 1];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulative[middle] > quantile * sum) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  const tokens = new Int32Array(sequences * length);
  for (let sequence = 0; sequence < sequences; sequence++) {
    let [before, last] = [0, 0];
    for (let i = 0; i < length; i++) {
      // Of the token before the last only two bits count, so that contexts recur often enough to be learnt.
      const next = uniform() < 0.5 ? at(mix(4 * last + (before & 3)) / 2 ** 32) : at(uniform());
      tokens[sequence * length + i] = next;
      [before, last] = [last, next];
    }
  }
  return tokens;
}

/** A 32-bit integer to another that looks unrelated (the finisher of MurmurHash3, by Appleby). */
function mix(value) {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
