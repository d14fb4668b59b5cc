/**
 * Applies BPE merges to one word: always the pair of lowest rank, the leftmost of equals, until none is left.
 * Short words rescan their pairs (quadratic, but fastest there); long ones keep a heap: O(n log n) for n symbols.
 */
import type { MergeTable } from './merge-table.js';

const scanLimit = 32;

/** Merges `symbols[0 … length)` in place and returns the new length. */
export function mergeWord(symbols: Int32Array, length: number, merges: MergeTable): number {
  return length <= scanLimit ? mergeByScanning(symbols, length, merges) : mergeWithHeap(symbols, length, merges);
}

const slotsScratch = new Int32Array(scanLimit);
const ranksScratch = new Int32Array(scanLimit);
const noRank = 0x7fffffff;

function mergeByScanning(symbols: Int32Array, length: number, merges: MergeTable): number {
  const slots = slotsScratch;
  const ranks = ranksScratch;
  const look = (i: number) => {
    const slot = merges.find(symbols[i], symbols[i + 1]);
    const rank = merges.rankAt(slot);
    slots[i] = slot;
    ranks[i] = rank < 0 ? noRank : rank;
  };
  for (let i = 0; i + 1 < length; i++) look(i);
  for (;;) {
    let best = noRank;
    let at = -1;
    for (let i = 0; i + 1 < length; i++) {
      if (ranks[i] < best) {
        best = ranks[i];
        at = i;
      }
    }
    if (at < 0) return length;
    symbols[at] = merges.mergedAt(slots[at]);
    length--;
    for (let i = at + 1; i < length; i++) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      slots[i] = slots[i + 1];
    }
    if (at > 0) look(at - 1);
    if (at + 1 < length) look(at);
  }
}

/** A binary min-heap of (rank, position) with the slot of the pair that was seen there; three parallel arrays. */
class MergeHeap {
  size = 0;
  private ranks: Int32Array;
  private positions: Int32Array;
  private merged: Int32Array;

  constructor(capacity: number) {
    this.ranks = new Int32Array(capacity);
    this.positions = new Int32Array(capacity);
    this.merged = new Int32Array(capacity);
  }

  push(rank: number, position: number, merged: number): void {
    if (this.size === this.ranks.length) this.grow();
    const { ranks, positions } = this;
    let i = this.size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (ranks[parent] < rank || (ranks[parent] === rank && positions[parent] < position)) break;
      this.move(parent, i);
      i = parent;
    }
    this.put(i, rank, position, merged);
  }

  topPosition(): number {
    return this.positions[0];
  }

  topMerged(): number {
    return this.merged[0];
  }

  pop(): void {
    const { ranks, positions } = this;
    const last = --this.size;
    const rank = ranks[last];
    const position = positions[last];
    const merged = this.merged[last];
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= last) break;
      const right = child + 1;
      if (
        right < last &&
        (ranks[right] < ranks[child] || (ranks[right] === ranks[child] && positions[right] < positions[child]))
      ) {
        child = right;
      }
      if (rank < ranks[child] || (rank === ranks[child] && position < positions[child])) break;
      this.move(child, i);
      i = child;
    }
    this.put(i, rank, position, merged);
  }

  private move(from: number, to: number): void {
    this.put(to, this.ranks[from], this.positions[from], this.merged[from]);
  }

  private put(i: number, rank: number, position: number, merged: number): void {
    this.ranks[i] = rank;
    this.positions[i] = position;
    this.merged[i] = merged;
  }

  private grow(): void {
    const larger = (old: Int32Array) => {
      const fresh = new Int32Array(old.length * 2);
      fresh.set(old);
      return fresh;
    };
    this.ranks = larger(this.ranks);
    this.positions = larger(this.positions);
    this.merged = larger(this.merged);
  }
}

function mergeWithHeap(symbols: Int32Array, length: number, merges: MergeTable): number {
  const previous = new Int32Array(length);
  const next = new Int32Array(length);
  const heap = new MergeHeap(length);
  const offer = (position: number, right: number) => {
    const slot = merges.find(symbols[position], symbols[right]);
    const rank = merges.rankAt(slot);
    if (rank >= 0) heap.push(rank, position, merges.mergedAt(slot));
  };
  for (let i = 0; i < length; i++) {
    previous[i] = i - 1;
    next[i] = i + 1 < length ? i + 1 : -1;
    if (i + 1 < length) offer(i, i + 1);
  }
  while (heap.size > 0) {
    const at = heap.topPosition();
    const merged = heap.topMerged();
    heap.pop();
    const right = next[at];
    if (symbols[at] < 0 || right < 0) continue;
    const slot = merges.find(symbols[at], symbols[right]);
    // A stale entry: the pair that it saw is gone.
    if (merges.rankAt(slot) < 0 || merges.mergedAt(slot) !== merged) continue;
    symbols[at] = merged;
    symbols[right] = -1;
    const after = next[right];
    next[at] = after;
    if (after >= 0) previous[after] = at;
    if (previous[at] >= 0) offer(previous[at], at);
    if (after >= 0) offer(at, after);
  }
  let kept = 0;
  for (let i = 0; i < length; i++) if (symbols[i] >= 0) symbols[kept++] = symbols[i];
  return kept;
}
