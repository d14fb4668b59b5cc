/**
 * Counts n-grams of integer ids by a 64-bit hash in one open-addressing table that is reused from document to document: no
 * object and no string per n-gram. Two different n-grams of one document share a count with probability below 2^-40 for
 * documents of up to a million words.
 * Memory: 16 bytes a slot, at least two slots an n-gram of the longest document seen. Not for concurrent use.
 */

export class NgramCounter {
  #low = new Uint32Array(1024);
  #high = new Uint32Array(1024);
  #counts = new Uint32Array(1024);
  #stamps = new Uint32Array(1024);
  #stamp = 0;

  /** Empties the table and makes room for `capacity` different n-grams. */
  reset(capacity: number): void {
    let size = this.#low.length;
    while (size < capacity * 2) size *= 2;
    if (size !== this.#low.length || this.#stamp === 0xffffffff) {
      this.#low = new Uint32Array(size);
      this.#high = new Uint32Array(size);
      this.#counts = new Uint32Array(size);
      this.#stamps = new Uint32Array(size);
      this.#stamp = 0;
    }
    this.#stamp++;
  }

  /** Adds one occurrence of the n-gram `ids[start, start + n)`; returns how often it has occurred, this time included. */
  add(ids: Int32Array, start: number, n: number): number {
    let low = 0x811c9dc5;
    let high = 0x9747b28c;
    for (let index = start; index < start + n; index++) {
      const id = ids[index];
      low = Math.imul(low ^ id, 0x01000193);
      low ^= low >>> 15;
      high = Math.imul(high ^ Math.imul(id, 0xcc9e2d51), 0x85ebca6b);
      high ^= high >>> 13;
    }
    low >>>= 0;
    high >>>= 0;
    const mask = this.#low.length - 1;
    let slot = (low ^ Math.imul(high, 0x9e3779b1)) & mask;
    for (;;) {
      if (this.#stamps[slot] !== this.#stamp) {
        this.#stamps[slot] = this.#stamp;
        this.#low[slot] = low;
        this.#high[slot] = high;
        this.#counts[slot] = 1;
        return 1;
      }
      if (this.#low[slot] === low && this.#high[slot] === high) return ++this.#counts[slot];
      slot = (slot + 1) & mask;
    }
  }
}
