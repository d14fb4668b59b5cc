import { describe, expect, it } from 'vitest';
import { RandomGenerator, uniformAt } from './random-generator.js';

describe('RandomGenerator', () => {
  it('is xoshiro128**: the reference recurrence from a given state', () => {
    // The published C code on the state 1, 2, 3, 4, by 64-bit integers instead of Math.imul.
    const mask = 0xffffffffn;
    const rotate = (x: bigint, k: bigint): bigint => ((x << k) | (x >> (32n - k))) & mask;
    const s = [1n, 2n, 3n, 4n];
    const generator = RandomGenerator.fromState({ algorithm: 'xoshiro128**', words: [1, 2, 3, 4] });
    for (let i = 0; i < 1000; i++) {
      const expected = (rotate((s[1] * 5n) & mask, 7n) * 9n) & mask;
      const t = (s[1] << 9n) & mask;
      s[2] ^= s[0];
      s[3] ^= s[1];
      s[1] ^= s[2];
      s[0] ^= s[3];
      s[2] ^= t;
      s[3] = rotate(s[3], 11n);
      expect(generator.nextUint32()).toBe(Number(expected));
    }
  });

  it('gives the same numbers for the same seed, for all time', () => {
    const generator = new RandomGenerator(42);
    expect(Array.from({ length: 4 }, () => generator.nextUint32())).toMatchInlineSnapshot(`
      [
        1573650488,
        1474909760,
        734728003,
        2826027166,
      ]
    `);
    expect(new RandomGenerator(2 ** 40).uniform()).not.toBe(new RandomGenerator(0).uniform());
  });

  it('continues from its state, through JSON', () => {
    const generator = new RandomGenerator(3);
    generator.normal();
    const copy = RandomGenerator.fromState(JSON.parse(JSON.stringify(generator.state)) as typeof generator.state);
    expect(copy.uniform()).toBe(generator.uniform());
    expect(copy.state).toEqual(generator.state);
  });

  it('forks by label without advancing', () => {
    const generator = new RandomGenerator(3);
    const before = generator.state;
    const [a, b, again] = [generator.fork('a'), generator.fork('b'), generator.fork('a')];
    expect(generator.state).toEqual(before);
    expect(a.uniform()).toBe(again.uniform());
    expect(a.uniform()).not.toBe(b.uniform());
    generator.uniform();
    expect(generator.fork('a').uniform()).not.toBe(new RandomGenerator(3).fork('a').uniform());
  });

  it('uniform and normal have their moments', () => {
    const generator = new RandomGenerator(9);
    const count = 200_000;
    let mean = 0;
    let square = 0;
    const normals = new Float32Array(count);
    generator.fillNormal(normals, 2, 3);
    for (const x of normals) {
      mean += x / count;
      square += (x - 2) ** 2 / count;
    }
    expect(Math.abs(mean - 2)).toBeLessThan((4 * 3) / Math.sqrt(count));
    expect(Math.abs(square / 9 - 1)).toBeLessThan(4 * Math.sqrt(2 / count));
    let sum = 0;
    let single = 0;
    for (let i = 0; i < count; i++) {
      const u = generator.uniform();
      if (u < 0 || u >= 1) throw new Error(`uniform gave ${u}`);
      sum += u;
      single += generator.normal();
    }
    expect(Math.abs(sum / count - 0.5)).toBeLessThan(4 / Math.sqrt(12 * count));
    expect(Math.abs(single / count)).toBeLessThan(4 / Math.sqrt(count));
  });

  it('fills odd lengths', () => {
    const values = new Float32Array(5);
    new RandomGenerator(1).fillNormal(values);
    expect(values.every((x) => x !== 0 && Number.isFinite(x))).toBe(true);
  });

  it('integer is uniform below its bound, shuffle over all orders', () => {
    const generator = new RandomGenerator(4);
    const counts = new Map<string, number>();
    const draws = 24_000;
    for (let i = 0; i < draws; i++) {
      const key = generator.shuffle([0, 1, 2, 3]).join('');
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    let chiSquared = 0;
    for (const count of counts.values()) chiSquared += (count - draws / 24) ** 2 / (draws / 24);
    expect(chiSquared).toBeLessThan(23 + 5 * Math.sqrt(46));
    const typed = generator.shuffle(Int32Array.of(1, 2, 3));
    expect(Array.from(typed).sort()).toEqual([1, 2, 3]);
    expect(generator.integer(1)).toBe(0);
  });

  it.each([-1, 0.5, NaN, 2 ** 53])('refuses the seed %d', (seed) => {
    expect(() => new RandomGenerator(seed)).toThrow(/seed/);
  });

  it('refuses bounds and states out of range', () => {
    expect(() => new RandomGenerator(1).integer(0)).toThrow(/below 0/);
    expect(() => RandomGenerator.fromState({ algorithm: 'xoshiro128**', words: [0, 0, 0, 0] })).toThrow(/state/);
  });
});

describe('uniformAt', () => {
  it('is uniform over positions and over seeds, and uncorrelated between neighbours', () => {
    const bins = 64;
    for (const draw of [
      (i: number) => uniformAt(5, i),
      (i: number) => uniformAt(i, 5),
      (i: number) => uniformAt(i, i),
    ]) {
      const counts = new Float64Array(bins);
      const count = 64_000;
      let product = 0;
      for (let i = 0; i < count; i++) {
        const u = draw(i);
        if (u < 0 || u >= 1 || Math.fround(u) !== u) throw new Error(`uniformAt gave ${u}`);
        counts[Math.floor(u * bins)]++;
        product += (u - 0.5) * (draw(i + 1) - 0.5);
      }
      const chiSquared = counts.reduce((sum, n) => sum + (n - count / bins) ** 2 / (count / bins), 0);
      expect(chiSquared).toBeLessThan(bins + 5 * Math.sqrt(2 * bins));
      expect(Math.abs((product / count) * 12)).toBeLessThan(5 / Math.sqrt(count));
    }
  });

  it('depends on all 53 bits of the seed', () => {
    expect(uniformAt(1, 0)).not.toBe(uniformAt(1 + 2 ** 40, 0));
  });
});
