/**
 * A seeded bijection of [0, size): the i-th element of a shuffled space without holding the space. A 6-round Feistel network on the
 * next even number of bits, walked until it falls inside. `size` at most 2^48. Cost: under four walks of 6 rounds, expected.
 */

export function permutedIndex(index: number, size: number, key: number): number {
  if (size <= 1) return 0;
  const halfBits = Math.ceil(Math.log2(size) / 2);
  const halfSize = 2 ** halfBits;
  const mask = halfSize - 1;
  let value = index;
  do {
    let left = Math.floor(value / halfSize);
    let right = value % halfSize;
    for (let round = 0; round < 6; round++) {
      const mixed = (left ^ mix(right, key, round)) & mask;
      left = right;
      right = mixed;
    }
    value = left * halfSize + right;
  } while (value >= size);
  return value;
}

function mix(value: number, key: number, round: number): number {
  let state = (value ^ Math.imul(key, 0x9e3779b1) ^ Math.imul(round + 1, 0x7f4a7c15)) | 0;
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}

/** A small seeded generator (mulberry32): uniform in [0, 1). For text and choices, not for statistics. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}
