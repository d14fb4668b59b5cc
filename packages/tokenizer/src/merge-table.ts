/**
 * The merges of a BPE model as an open-addressing table from a pair of ids to (rank, merged id): one probe sequence over
 * one Int32Array, no objects. Memory: 32 bytes a merge or a little more.
 */

export class MergeTable {
  /** Left id, right id, rank and merged id of each slot; −1 in empty ones. Shared memory, so threads share one table. */
  readonly slots: Int32Array;
  private readonly mask: number;

  /** A view of another table's slots. */
  constructor(slots: Int32Array) {
    this.slots = slots;
    this.mask = slots.length / 4 - 1;
  }

  /** `merges`: left id, right id, merged id, in order of rank; a pair that occurs twice keeps its last rank. */
  static build(merges: Int32Array): MergeTable {
    const count = merges.length / 3;
    let capacity = 16;
    while (capacity < count * 2) capacity *= 2;
    const table = new MergeTable(new Int32Array(new SharedArrayBuffer(capacity * 16)).fill(-1));
    for (let rank = 0; rank < count; rank++) {
      const left = merges[rank * 3];
      const right = merges[rank * 3 + 1];
      table.slots.set([left, right, rank, merges[rank * 3 + 2]], table.find(left, right));
    }
    return table;
  }

  /** The slot of a pair, or the empty slot where it would be; `rankAt` tells them apart. */
  find(left: number, right: number): number {
    const { slots, mask } = this;
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    hash ^= hash >>> 15;
    for (let index = hash & mask; ; index = (index + 1) & mask) {
      const slot = index * 4;
      if ((slots[slot] === left && slots[slot + 1] === right) || slots[slot] === -1) return slot;
    }
  }

  /** The rank of the pair in a slot, −1 for an empty slot. */
  rankAt(slot: number): number {
    return this.slots[slot + 2];
  }

  mergedAt(slot: number): number {
    return this.slots[slot + 3];
  }
}
