/**
 * The queue of candidate merges: highest count first, then the smaller left id, then the smaller right id (Hugging Face's
 * order). An entry also carries the head of a list of words. A 4-ary heap over parallel arrays.
 */
import type { PairTable } from './pair-table.js';

export class MergeQueue {
  size = 0;
  private readonly table: PairTable;
  private pairs = new Int32Array(1 << 10);
  private counts = new Float64Array(1 << 10);
  private lists = new Int32Array(1 << 10);

  constructor(table: PairTable) {
    this.table = table;
  }

  get topPair(): number {
    return this.pairs[0];
  }

  get topCount(): number {
    return this.counts[0];
  }

  get topList(): number {
    return this.lists[0];
  }

  push(pair: number, count: number, list: number): void {
    if (this.size === this.pairs.length) this.grow();
    let i = this.size++;
    while (i > 0) {
      const parent = (i - 1) >> 2;
      if (!this.isBefore(pair, count, parent)) break;
      this.move(parent, i);
      i = parent;
    }
    this.put(i, pair, count, list);
  }

  pop(): void {
    const last = --this.size;
    this.sink(this.pairs[last], this.counts[last], this.lists[last]);
  }

  /** Gives the top entry another (lower) count and puts it where it belongs. */
  lowerTop(count: number): void {
    this.sink(this.pairs[0], count, this.lists[0]);
  }

  private sink(pair: number, count: number, list: number): void {
    let i = 0;
    for (;;) {
      const first = 4 * i + 1;
      if (first >= this.size) break;
      let best = first;
      const end = Math.min(first + 4, this.size);
      for (let child = first + 1; child < end; child++) {
        if (this.isBefore(this.pairs[child], this.counts[child], best)) best = child;
      }
      if (this.isBefore(pair, count, best)) break;
      this.move(best, i);
      i = best;
    }
    this.put(i, pair, count, list);
  }

  private isBefore(pair: number, count: number, entry: number): boolean {
    const otherCount = this.counts[entry];
    if (count !== otherCount) return count > otherCount;
    const other = this.pairs[entry];
    const { left, right } = this.table;
    return left[pair] !== left[other] ? left[pair] < left[other] : right[pair] < right[other];
  }

  private move(from: number, to: number): void {
    this.put(to, this.pairs[from], this.counts[from], this.lists[from]);
  }

  private put(i: number, pair: number, count: number, list: number): void {
    this.pairs[i] = pair;
    this.counts[i] = count;
    this.lists[i] = list;
  }

  private grow(): void {
    const size = this.pairs.length * 2;
    const pairs = new Int32Array(size);
    pairs.set(this.pairs);
    const counts = new Float64Array(size);
    counts.set(this.counts);
    const lists = new Int32Array(size);
    lists.set(this.lists);
    Object.assign(this, { pairs, counts, lists });
  }
}
