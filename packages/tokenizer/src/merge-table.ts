/**
 * The merges of a BPE model as an open-addressing table from a pair of ids to (rank, merged id): one probe sequence over
 * one Int32Array, no objects. Memory: 32 bytes a merge or a little more.
 */

export class MergeTable {
  private readonly slots: Int32Array;
  private readonly mask: number;

  /** `merges`: left id, right id, merged id, in order of rank; a pair that occurs twice keeps its last rank. */
  constructor(merges: Int32Array) {
    const count = merges.length / 3;
    let capacity = 16;
    while (capacity < count * 2) capacity *= 2;
    this.mask = capacity - 1;
    this.slots = new Int32Array(capacity * 4).fill(-1);
    for (let rank = 0; rank < count; rank++) {
      const left = merges[rank * 3];
      const right = merges[rank * 3 + 1];
      const slot = this.find(left, right);
      this.slots[slot] = left;
      this.slots[slot + 1] = right;
      this.slots[slot + 2] = rank;
      this.slots[slot + 3] = merges[rank * 3 + 2];
    }
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
