/**
 * Counts byte strings: an open-addressing table over one byte arena. A word costs its bytes plus about 24 bytes; no
 * object is made for it.
 */

/** Words and their counts in flat arrays, as they cross threads and files. Word i is `bytes[starts[i] … starts[i + 1])`. */
export interface WordCounts {
  bytes: Uint8Array;
  /** words + 1 */
  starts: Float64Array;
  counts: Float64Array;
}

function grown<T extends Uint8Array | Int32Array | Float64Array>(old: T, size: number): T {
  const fresh = new (old.constructor as new (length: number) => T)(size);
  fresh.set(old);
  return fresh;
}

export class WordCounter {
  size = 0;
  private slots = new Int32Array(1 << 12);
  private hashes = new Int32Array(1 << 11);
  private starts = new Float64Array((1 << 11) + 1);
  private counts = new Float64Array(1 << 11);
  private arena = new Uint8Array(1 << 15);

  /** Adds `count` to the word `bytes[start … end)`. */
  add(bytes: Uint8Array, start: number, end: number, count: number): void {
    let hash = 0x811c9dc5;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x9e3779b1);
    const length = end - start;
    const { slots, hashes, starts, arena } = this;
    const mask = slots.length - 1;
    let slot = (hash >>> 7) & mask;
    for (;;) {
      const word = slots[slot] - 1;
      if (word < 0) break;
      if (hashes[word] === hash) {
        const key = starts[word];
        if (starts[word + 1] - key === length) {
          let i = 0;
          while (i < length && arena[key + i] === bytes[start + i]) i++;
          if (i === length) {
            this.counts[word] += count;
            return;
          }
        }
      }
      slot = (slot + 1) & mask;
    }
    this.insert(slot, hash, bytes, start, end, count);
  }

  /** Adds all words of another table. */
  addAll(words: WordCounts): void {
    for (let i = 0; i < words.counts.length; i++) {
      this.add(words.bytes, words.starts[i], words.starts[i + 1], words.counts[i]);
    }
  }

  /** The table as flat arrays (copies). */
  toWordCounts(): WordCounts {
    return {
      bytes: this.arena.slice(0, this.starts[this.size]),
      starts: this.starts.slice(0, this.size + 1),
      counts: this.counts.slice(0, this.size),
    };
  }

  private insert(slot: number, hash: number, bytes: Uint8Array, start: number, end: number, count: number): void {
    const word = this.size++;
    if (word === this.counts.length) {
      this.hashes = grown(this.hashes, word * 2);
      this.counts = grown(this.counts, word * 2);
      this.starts = grown(this.starts, word * 2 + 1);
    }
    const key = this.starts[word];
    const needed = key + end - start;
    if (needed > this.arena.length) this.arena = grown(this.arena, Math.max(needed, this.arena.length * 2));
    const { arena } = this;
    for (let i = start; i < end; i++) arena[key + i - start] = bytes[i];
    this.starts[word + 1] = needed;
    this.hashes[word] = hash;
    this.counts[word] = count;
    this.slots[slot] = word + 1;
    if (this.size * 2 > this.slots.length) this.rehash();
  }

  private rehash(): void {
    const slots = new Int32Array(this.slots.length * 2);
    const mask = slots.length - 1;
    for (let word = 0; word < this.size; word++) {
      let slot = (this.hashes[word] >>> 7) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = word + 1;
    }
    this.slots = slots;
  }
}
