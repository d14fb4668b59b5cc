/**
 * Byte-level BPE over UTF-8 bytes: scanner → pre-token cache → merges, straight into one growing Uint32Array. Nothing is
 * allocated for a token. The cache is keyed on the pre-token's bytes: up to 8 bytes live inside the slot as two 32-bit
 * words, longer ones (to `maximumCachedBytes`) in a byte arena. A full cache starts anew, which bounds its memory (about
 * 10 MB) and keeps what is frequent now; what it holds never changes an id.
 */
import type { MergeTable } from './merge-table.js';
import { mergeWord } from './merge-word.js';
import type { PreTokenScanner } from './pre-token-scanner.js';
import { TokenizerError } from './errors.js';
import { bytesToToken } from './byte-level-alphabet.js';

export interface ByteModel {
  scanner: PreTokenScanner;
  /** Token id of every byte. */
  byteTokens: Int32Array;
  merges: MergeTable;
  /** Set when the model takes a whole pre-token that is in the vocabulary without looking at merges (Llama 3). */
  wholeWords?: { ids: ReadonlyMap<string, number>; longest: number };
}

const cacheSlots = 1 << 18;
const slotMask = cacheSlots - 1;
const maximumEntries = (cacheSlots * 3) / 4;
const maximumCachedBytes = 64;
const window = 1 << 16;
const keptOutput = 1 << 24;
/** Merging takes about 24 bytes a byte. */
const maximumPreTokenBytes = 1 << 26;

function tooLong(size: number): TokenizerError {
  return new TokenizerError('PRE_TOKEN_TOO_LONG', `A text has a piece of ${size} bytes without any place to cut it.`, {
    value: size,
    remedy: `Pieces of up to ${maximumPreTokenBytes} bytes can be encoded: drop the text or cut it.`,
  });
}

const lowMasks = Int32Array.from({ length: 9 }, (_, n) => (n >= 4 ? -1 : (1 << (8 * n)) - 1));
const highMasks = Int32Array.from({ length: 9 }, (_, n) => (n >= 8 ? -1 : n <= 4 ? 0 : (1 << (8 * (n - 4))) - 1));

export class BytePairEncoder {
  /** Token ids so far; only the first `length` are valid. */
  output = new Uint32Array(1 << 12);
  length = 0;

  private readonly model: ByteModel;
  /** Four words a slot: key (low and high word, or hash and arena offset), byte count | token count << 8, value. */
  private readonly slots = new Int32Array(cacheSlots * 4);
  private entries = 0;
  private keyArena = new Uint8Array(1 << 16);
  private keyLength = 0;
  private valueArena = new Uint32Array(1 << 14);
  private valueLength = 0;
  private symbols = new Int32Array(256);

  constructor(model: ByteModel) {
    this.model = model;
  }

  /** Appends the ids of `bytes[start … end)`, which must be valid UTF-8 with 8 readable bytes after `end`. */
  encode(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    const { scanner } = this.model;
    const { slots } = this;
    let position = start;
    while (position < end) {
      const limit = Math.min(end, position + window);
      // A cached pre-token that starts before `limit` may end up to maximumCachedBytes after it.
      this.reserve(window + maximumCachedBytes);
      let output = this.output;
      let length = this.length;
      while (position < limit) {
        const next = scanner.next(bytes, position, end);
        const size = next - position;
        if (size <= 8) {
          const low = view.getInt32(position, true) & lowMasks[size];
          const high = view.getInt32(position + 4, true) & highMasks[size];
          let hash = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
          hash ^= hash >>> 15;
          let slot = (hash & slotMask) * 4;
          for (;;) {
            const meta = slots[slot + 2];
            if ((meta & 0xff) === size && slots[slot] === low && slots[slot + 1] === high) {
              const value = slots[slot + 3];
              if (meta >> 8 === 1) output[length++] = value;
              else for (let i = 0; i < meta >> 8; i++) output[length++] = this.valueArena[value + i];
              break;
            }
            if (meta === 0) {
              this.length = length;
              this.encodeShort(bytes, position, next, slot, low, high);
              length = this.length;
              break;
            }
            slot = (slot + 4) & (slotMask * 4 + 3);
          }
        } else {
          this.length = length;
          this.encodeLong(bytes, position, next);
          length = this.length;
          output = this.output;
        }
        position = next;
      }
      this.length = length;
    }
  }

  /** Forgets the ids (not the cache), and lets go of a large output. */
  reset(): void {
    this.length = 0;
    if (this.output.length > keptOutput) this.output = new Uint32Array(1 << 12);
  }

  reserve(tokens: number): void {
    if (this.length + tokens <= this.output.length) return;
    const larger = new Uint32Array(Math.max(this.output.length * 2, this.length + tokens));
    larger.set(this.output.subarray(0, this.length));
    this.output = larger;
  }

  append(id: number): void {
    this.reserve(1);
    this.output[this.length++] = id;
  }

  private encodeShort(bytes: Uint8Array, start: number, end: number, slot: number, low: number, high: number): void {
    const from = this.length;
    this.mergePreToken(bytes, start, end);
    if (this.entries >= maximumEntries) return this.clearCache();
    this.entries++;
    this.slots[slot] = low;
    this.slots[slot + 1] = high;
    this.fillValue(slot, end - start, from);
  }

  private encodeLong(bytes: Uint8Array, start: number, end: number): void {
    const size = end - start;
    if (size > maximumCachedBytes) {
      this.reserve(size + window + maximumCachedBytes);
      this.mergePreToken(bytes, start, end);
      return;
    }
    let hash = size;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
    hash ^= hash >>> 15;
    const { slots, keyArena } = this;
    let slot = (hash & slotMask) * 4;
    for (; slots[slot + 2] !== 0; slot = (slot + 4) & (slotMask * 4 + 3)) {
      if ((slots[slot + 2] & 0xff) !== size || slots[slot] !== hash) continue;
      const key = slots[slot + 1];
      let i = 0;
      while (i < size && keyArena[key + i] === bytes[start + i]) i++;
      if (i < size) continue;
      const count = slots[slot + 2] >> 8;
      const value = slots[slot + 3];
      if (count === 1) this.output[this.length++] = value;
      else for (let t = 0; t < count; t++) this.output[this.length++] = this.valueArena[value + t];
      return;
    }
    const from = this.length;
    this.mergePreToken(bytes, start, end);
    if (this.entries >= maximumEntries) return this.clearCache();
    this.entries++;
    slots[slot] = hash;
    slots[slot + 1] = this.storeKey(bytes, start, end);
    this.fillValue(slot, size, from);
  }

  private clearCache(): void {
    this.slots.fill(0);
    this.entries = 0;
    this.keyLength = 0;
    this.valueLength = 0;
  }

  private storeKey(bytes: Uint8Array, start: number, end: number): number {
    const size = end - start;
    if (this.keyLength + size > this.keyArena.length) {
      const larger = new Uint8Array(this.keyArena.length * 2);
      larger.set(this.keyArena);
      this.keyArena = larger;
    }
    const offset = this.keyLength;
    for (let i = 0; i < size; i++) this.keyArena[offset + i] = bytes[start + i];
    this.keyLength += size;
    return offset;
  }

  /** Stores the ids appended since `from` as the slot's value. */
  private fillValue(slot: number, size: number, from: number): void {
    const count = this.length - from;
    this.slots[slot + 2] = size | (count << 8);
    if (count === 1) {
      this.slots[slot + 3] = this.output[from];
      return;
    }
    if (this.valueLength + count > this.valueArena.length) {
      const larger = new Uint32Array(this.valueArena.length * 2);
      larger.set(this.valueArena);
      this.valueArena = larger;
    }
    this.valueArena.set(this.output.subarray(from, this.length), this.valueLength);
    this.slots[slot + 3] = this.valueLength;
    this.valueLength += count;
  }

  private mergePreToken(bytes: Uint8Array, start: number, end: number): void {
    const { byteTokens, merges, wholeWords } = this.model;
    const size = end - start;
    if (size > maximumPreTokenBytes) throw tooLong(size);
    if (wholeWords !== undefined && size <= wholeWords.longest) {
      const id = wholeWords.ids.get(bytesToToken(bytes, start, end));
      if (id !== undefined) {
        this.output[this.length++] = id;
        return;
      }
    }
    if (size > this.symbols.length) this.symbols = new Int32Array(Math.max(size, this.symbols.length * 2));
    const { symbols } = this;
    for (let i = 0; i < size; i++) symbols[i] = byteTokens[bytes[start + i]];
    const count = mergeWord(symbols, size, merges);
    for (let i = 0; i < count; i++) this.output[this.length++] = symbols[i];
    if (this.symbols.length > 1 << 20) this.symbols = new Int32Array(256);
  }
}
