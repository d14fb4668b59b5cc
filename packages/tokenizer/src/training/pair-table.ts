/**
 * Pairs of ids → dense indices 0, 1, 2, …, with a count for each; open addressing over flat arrays. Pairs are never removed.
 */

export class PairTable {
  size = 0;
  left = new Int32Array(1 << 12);
  right = new Int32Array(1 << 12);
  counts = new Float64Array(1 << 12);
  private slots = new Int32Array(1 << 13);

  /** The index of a pair, or −1. */
  find(left: number, right: number): number {
    return this.slots[this.slotOf(left, right)] - 1;
  }

  /** The index of a pair, which is added with count 0 when it is new. */
  intern(left: number, right: number): number {
    const slot = this.slotOf(left, right);
    const known = this.slots[slot] - 1;
    if (known >= 0) return known;
    const pair = this.size++;
    if (pair === this.left.length) this.grow();
    this.left[pair] = left;
    this.right[pair] = right;
    this.slots[slot] = pair + 1;
    if (this.size * 2 > this.slots.length) this.rehash();
    return pair;
  }

  private slotOf(left: number, right: number): number {
    const { slots, left: lefts, right: rights } = this;
    const mask = slots.length - 1;
    for (let slot = hashPair(left, right) & mask; ; slot = (slot + 1) & mask) {
      const pair = slots[slot] - 1;
      if (pair < 0 || (lefts[pair] === left && rights[pair] === right)) return slot;
    }
  }

  private grow(): void {
    const size = this.left.length * 2;
    const left = new Int32Array(size);
    left.set(this.left);
    const right = new Int32Array(size);
    right.set(this.right);
    const counts = new Float64Array(size);
    counts.set(this.counts);
    Object.assign(this, { left, right, counts });
  }

  private rehash(): void {
    const slots = new Int32Array(this.slots.length * 2);
    const mask = slots.length - 1;
    for (let pair = 0; pair < this.size; pair++) {
      let slot = hashPair(this.left[pair], this.right[pair]) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = pair + 1;
    }
    this.slots = slots;
  }
}

function hashPair(left: number, right: number): number {
  const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right + 0x7f4a7c15, 0x85ebca6b);
  return hash ^ (hash >>> 15);
}
