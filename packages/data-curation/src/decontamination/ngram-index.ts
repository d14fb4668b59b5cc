/**
 * Which evaluation items a text shares word n-grams with. The usual check against training on test data: 13-grams in GPT-3 (Brown et al.
 * 2020, arXiv:2005.14165, appendix C). Case, punctuation and spacing do not matter.
 * Memory: 12 bytes a slot, two slots an n-gram of the evaluation sets. Cost of a check: about 20 ns a word.
 */

import { forEachGram } from '../text/rolling-grams.js';
import { wordHashes } from '../text/word-hashes.js';

export interface EvaluationItem {
  set: string;
  /** Line or row of the item in its file, from 1. */
  item: number;
  text: string;
}

export interface Contamination {
  set: string;
  item: number;
  /** n-grams of the text that occur in this item. */
  matches: number;
  /** The first shared n-gram, as word positions of the text. */
  firstWord: number;
}

export class NgramIndex {
  readonly n: number;
  readonly #low: Uint32Array;
  readonly #high: Uint32Array;
  /** Index into the items, plus one; 0 is an empty slot. */
  readonly #owner: Int32Array;
  readonly #items: { set: string; item: number }[] = [];
  /** Items too short to hold one n-gram. */
  readonly unchecked: Record<string, number> = {};
  readonly checked: Record<string, number> = {};

  constructor(items: readonly EvaluationItem[], n: number) {
    this.n = n;
    const prepared = items.map(({ set, item, text }) => ({ set, item, words: wordHashes(text) }));
    const grams = prepared.reduce((sum, { words }) => sum + Math.max(0, words.length - n + 1), 0);
    const size = 2 ** Math.ceil(Math.log2(Math.max(16, grams * 2)));
    this.#low = new Uint32Array(size);
    this.#high = new Uint32Array(size);
    this.#owner = new Int32Array(size);
    for (const { set, item, words } of prepared) {
      const counter = words.length < n ? this.unchecked : this.checked;
      counter[set] = (counter[set] ?? 0) + 1;
      if (words.length < n) continue;
      this.#items.push({ set, item });
      const owner = this.#items.length;
      forEachGram(words, n, (_start, low, high) => {
        const slot = this.#slot(low, high);
        if (this.#owner[slot] !== 0) return;
        this.#low[slot] = low;
        this.#high[slot] = high;
        this.#owner[slot] = owner;
      });
    }
  }

  /** The item that shares most n-grams with the text, or undefined when none shares any. */
  find(words: Int32Array): Contamination | undefined {
    let found: Map<number, { matches: number; firstWord: number }> | undefined;
    forEachGram(words, this.n, (start, low, high) => {
      const owner = this.#owner[this.#slot(low, high)];
      if (owner === 0) return;
      found ??= new Map();
      const entry = found.get(owner);
      if (entry === undefined) found.set(owner, { matches: 1, firstWord: start });
      else entry.matches++;
    });
    if (found === undefined) return undefined;
    let best: Contamination | undefined;
    for (const [owner, entry] of found) {
      if (best === undefined || entry.matches > best.matches) best = { ...this.#items[owner - 1], ...entry };
    }
    return best;
  }

  #slot(low: number, high: number): number {
    const mask = this.#low.length - 1;
    let slot = (low ^ Math.imul(high, 0x9e3779b1)) & mask;
    while (this.#owner[slot] !== 0 && (this.#low[slot] !== low || this.#high[slot] !== high)) slot = (slot + 1) & mask;
    return slot;
  }
}
