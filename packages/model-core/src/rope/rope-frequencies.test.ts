import { describe, expect, it } from 'vitest';
import type { RopeConfig } from '../config/model-config.js';
import { ntkBase, ropeFrequencies } from './rope-frequencies.js';

/** Of transformers' own numerical tests (test_modeling_rope_utils.py): Llama 2's heads of 128, 2048 positions. */
const published: [string, RopeConfig, number | undefined, Record<number, number>][] = [
  [
    'plain',
    { base: 10000 },
    undefined,
    { 0: 1, 16: 0.1, 17: 8.6596e-2, 33: 8.6596e-3, 48: 1e-3, 60: 1.7783e-4, 63: 1.1548e-4 },
  ],
  [
    'dynamic at 16384 positions',
    { base: 10000, scaling: { type: 'dynamic', factor: 10 } },
    16384,
    { 0: 1, 1: 8.0931e-1, 20: 1.4531e-2, 31: 1.4176e-3, 45: 7.3312e-5, 63: 1.6265e-6 },
  ],
  [
    'YaRN',
    { base: 10000, scaling: { type: 'yarn', factor: 10, betaFast: 32, betaSlow: 1 } },
    undefined,
    { 0: 1, 16: 0.1, 17: 8.3479e-2, 24: 2.2515e-2, 39: 6.281e-4, 41: 2.7384e-4, 63: 1.1548e-5 },
  ],
  [
    'llama3',
    {
      base: 10000,
      scaling: {
        type: 'llama3',
        factor: 10,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalMaximumPositions: 2048,
      },
    },
    undefined,
    { 0: 1, 30: 1.3335e-2, 31: 1.073e-2, 35: 2.8248e-3, 40: 3.4539e-4, 41: 2.7384e-4, 63: 1.1548e-5 },
  ],
];

describe('ropeFrequencies', () => {
  it.each(published)('%s equals the published values', (_, rope, sequenceLength, expected) => {
    const { inverseFrequencies } = ropeFrequencies(rope, 128, 2048, sequenceLength);
    expect(inverseFrequencies).toHaveLength(64);
    for (const [index, value] of Object.entries(expected)) {
      // Published to five digits.
      expect(Math.abs(inverseFrequencies[Number(index)] / value - 1), `frequency ${index}`).toBeLessThan(6e-5);
    }
  });

  it.each([2, 10, 20])('dynamic scaling by %d is plain RoPE up to maximumPositions', (factor) => {
    const plain = ropeFrequencies({ base: 10000 }, 128, 2048).inverseFrequencies;
    const rope: RopeConfig = { base: 10000, scaling: { type: 'dynamic', factor } };
    expect(ropeFrequencies(rope, 128, 2048).inverseFrequencies).toEqual(plain);
    expect(ropeFrequencies(rope, 128, 2048, 1).inverseFrequencies).toEqual(plain);
  });

  it('linear scaling divides positions', () => {
    const plain = ropeFrequencies({ base: 10000 }, 64, 2048).inverseFrequencies;
    const rope: RopeConfig = { base: 10000, scaling: { type: 'linear', factor: 4 } };
    const { inverseFrequencies, attentionScaling } = ropeFrequencies(rope, 64, 2048);
    expect(attentionScaling).toBe(1);
    inverseFrequencies.forEach((value, i) => expect(value).toBeCloseTo(plain[i] / 4, 9));
  });

  it('a base changed by ntkBase slows the slowest pair by the factor and leaves the fastest', () => {
    const base = ntkBase(10000, 8, 64);
    const plain = ropeFrequencies({ base: 10000 }, 64, 2048).inverseFrequencies;
    const changed = ropeFrequencies({ base }, 64, 2048).inverseFrequencies;
    expect(changed[0]).toBe(1);
    expect(plain[31] / changed[31]).toBeCloseTo(8, 4);
    expect(() => ntkBase(10000, 8, 2)).toThrow(/above 2/);
  });

  it.each([2, 10, 20])('YaRN’s attention factor at %d', (factor) => {
    const scaled = (extra: object): number => {
      const rope: RopeConfig = { base: 10000, scaling: { type: 'yarn', factor, ...extra } };
      return ropeFrequencies(rope, 128, 2048).attentionScaling;
    };
    expect(scaled({})).toBe(0.1 * Math.log(factor) + 1);
    expect(scaled({ attentionFactor: 0.5 })).toBe(0.5);
    expect(scaled({ mscale: 1, mscaleAllDimensions: 1 })).toBe(1);
    const ratio = (0.1 * 0.7 * Math.log(factor) + 1) / (0.1 * 0.4 * Math.log(factor) + 1);
    expect(scaled({ mscale: 0.7, mscaleAllDimensions: 0.4 })).toBeCloseTo(ratio, 12);
  });

  it('YaRN keeps pairs that turn more than betaFast times in the original context, interpolates those below betaSlow', () => {
    const original = 1024;
    const rope: RopeConfig = {
      base: 10000,
      scaling: { type: 'yarn', factor: 16, originalMaximumPositions: original },
    };
    const plain = ropeFrequencies({ base: 10000 }, 128, original).inverseFrequencies;
    const yarn = ropeFrequencies(rope, 128, 16 * original).inverseFrequencies;
    plain.forEach((frequency, i) => {
      const turns = (original * frequency) / (2 * Math.PI);
      const slowed = frequency / yarn[i];
      // One pair of slack at each border, for the rounding of the range to whole pairs.
      if (turns > 32 * 1.16) expect(slowed).toBeCloseTo(1, 5);
      else if (turns < 1 / 1.16) expect(slowed).toBeCloseTo(16, 4);
      else expect(slowed).toBeGreaterThanOrEqual(1 - 1e-6);
      if (i > 0) expect(yarn[i]).toBeLessThan(yarn[i - 1]);
    });
  });

  it('without truncation the ramp begins and ends between pairs', () => {
    const frequencies = (truncate: boolean): Float32Array =>
      ropeFrequencies({ base: 10000, scaling: { type: 'yarn', factor: 10, truncate } }, 128, 2048).inverseFrequencies;
    const [rounded, exact] = [frequencies(true), frequencies(false)];
    expect(exact).not.toEqual(rounded);
    // The exact range is the narrower: its start lies later, its end earlier.
    expect(exact[17]).toBeGreaterThan(rounded[17]);
    expect(exact[40]).toBeLessThan(rounded[40]);
  });
});
