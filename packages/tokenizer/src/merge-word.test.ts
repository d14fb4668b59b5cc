import { describe, expect, it } from 'vitest';
import { randomNumbers } from '../test/support/texts.js';
import { MergeTable } from './merge-table.js';
import { mergeWord } from './merge-word.js';

/** The definition, word by word: find the best pair, merge its leftmost occurrence, start again. */
function mergeNaively(symbols: number[], merges: readonly [number, number, number][]): number[] {
  const word = [...symbols];
  for (;;) {
    let best: { rank: number; at: number } | undefined;
    for (let at = 0; at + 1 < word.length; at++) {
      const rank = merges.findIndex(([left, right]) => left === word[at] && right === word[at + 1]);
      if (rank >= 0 && (best === undefined || rank < best.rank)) best = { rank, at };
    }
    if (best === undefined) return word;
    word.splice(best.at, 2, merges[best.rank][2]);
  }
}

describe('mergeWord', () => {
  it('merges words short and long as the definition says', () => {
    const random = randomNumbers(1);
    for (let round = 0; round < 400; round++) {
      const merges: [number, number, number][] = [];
      const seen = new Set<string>();
      const any = () => Math.floor(random() * (4 + merges.length));
      for (let i = 0; i < 30; i++) {
        const pair: [number, number] = [any(), any()];
        if (seen.has(pair.join())) continue;
        seen.add(pair.join());
        merges.push([...pair, 4 + merges.length]);
      }
      const table = MergeTable.build(Int32Array.from(merges.flat()));
      const length = 1 + Math.floor(random() * (round % 2 === 0 ? 32 : 300));
      const symbols = Array.from({ length }, () => Math.floor(random() * 4));
      const merged = Int32Array.from(symbols);
      const kept = mergeWord(merged, length, table);
      expect(Array.from(merged.subarray(0, kept))).toEqual(mergeNaively(symbols, merges));
    }
  });

  it('takes a word of a million equal symbols in its stride', () => {
    const table = MergeTable.build(Int32Array.of(0, 0, 1, 1, 1, 2, 2, 2, 3));
    const symbols = new Int32Array(1_000_003);
    const kept = mergeWord(symbols, symbols.length, table);
    expect(kept).toBe(125_000 + 2);
    expect(Array.from(symbols.subarray(kept - 3, kept))).toEqual([3, 1, 0]);
  });
});
