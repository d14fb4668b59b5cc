/**
 * Seeded randomness that depends on labels, not on call order elsewhere: `seededRandom(seed, 'needle', id)` gives the same
 * stream whatever else was drawn. xoshiro128** (Blackman and Vigna) with its state from SHA-256. Not for secrets.
 */

import { createHash } from 'node:crypto';

export class SeededRandom {
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  constructor(state: Buffer) {
    this.a = state.readUInt32LE(0);
    this.b = state.readUInt32LE(4);
    this.c = state.readUInt32LE(8);
    // A state of four zeros would stay there.
    this.d = state.readUInt32LE(12) | 1;
  }

  /** 32 random bits, unsigned. */
  bits(): number {
    const scaled = Math.imul(this.b, 5);
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9) >>> 0;
    const shifted = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= shifted;
    this.d = (this.d << 11) | (this.d >>> 21);
    return result;
  }

  /** In [0, 1), 53 bits. */
  uniform(): number {
    const high = this.bits() >>> 5;
    const low = this.bits() >>> 6;
    return (high * 0x4000000 + low) / 0x20000000000000;
  }

  /** In [0, bound). */
  integer(bound: number): number {
    return Math.floor(this.uniform() * bound);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.integer(items.length)];
    if (item === undefined) throw new RangeError('pick was given an empty list');
    return item;
  }

  /** In place (Fisher–Yates); returns its argument. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }

  /** `count` distinct integers of [0, bound), in random order. */
  distinct(count: number, bound: number): number[] {
    if (count * 2 >= bound)
      return this.shuffle(Array.from({ length: bound }, (_, i) => i)).slice(0, Math.min(count, bound));
    const seen = new Set<number>();
    while (seen.size < count) seen.add(this.integer(bound));
    return [...seen];
  }

  digits(count: number): string {
    let text = String(1 + this.integer(9));
    while (text.length < count) text += String(this.integer(10));
    return text;
  }

  letters(count: number, alphabet: string): string {
    let text = '';
    for (let i = 0; i < count; i++) text += alphabet[this.integer(alphabet.length)];
    return text;
  }

  /** A version-4 UUID. */
  uuid(): string {
    const hex = this.letters(32, '0123456789abcdef');
    const variant = '89ab'[this.integer(4)];
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
  }
}

export function seededRandom(seed: number, ...labels: (string | number)[]): SeededRandom {
  return new SeededRandom(
    createHash('sha256')
      .update(JSON.stringify([seed, ...labels]))
      .digest(),
  );
}

/** A seed in [0, 2^31) for a sampler elsewhere (OpenAI's `seed` field takes it). */
export function derivedSeed(seed: number, ...labels: (string | number)[]): number {
  return (
    createHash('sha256')
      .update(JSON.stringify([seed, ...labels]))
      .digest()
      .readUInt32LE(0) >>> 1
  );
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
