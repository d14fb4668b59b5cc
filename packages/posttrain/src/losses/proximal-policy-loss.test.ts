import { describe, expect, it } from 'vitest';
import { proximalPolicyLoss, type ProximalPolicyInput } from './proximal-policy-loss.js';

const tokens = 64;
const wave = (seed: number, scale: number): number[] =>
  Array.from({ length: tokens }, (_, i) => Math.sin(9.7 * (i + 1) + 31.1 * seed) * scale);

const oldLogProbabilities = wave(1, 1).map((x) => x - 2);
const input = {
  oldLogProbabilities,
  // Ratios from about 0.6 to 1.6: on both sides of the clip, with advantages of both signs.
  logProbabilities: oldLogProbabilities.map((x, i) => x + wave(2, 0.35)[i]),
  advantages: wave(3, 2),
  oldValues: wave(4, 1),
  values: wave(4, 1).map((x, i) => x + wave(5, 0.6)[i]),
  returns: wave(6, 1.5),
} satisfies ProximalPolicyInput;

/** The formulas as the papers write them. */
function definition({ clip, valueClip }: { clip: number; valueClip: number | null }, from: typeof input) {
  const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);
  let policy = 0;
  let value = 0;
  for (let i = 0; i < tokens; i++) {
    const ratio = Math.exp(from.logProbabilities[i] - from.oldLogProbabilities[i]);
    const advantage = from.advantages[i];
    policy -= Math.min(ratio * advantage, clamp(ratio, 1 - clip, 1 + clip) * advantage);
    const plain = (from.values[i] - from.returns[i]) ** 2;
    const moved = from.oldValues[i] + clamp(from.values[i] - from.oldValues[i], -(valueClip ?? 0), valueClip ?? 0);
    value += 0.5 * (valueClip === null ? plain : Math.max(plain, (moved - from.returns[i]) ** 2));
  }
  return { policy: policy / tokens, value: value / tokens };
}

describe('proximalPolicyLoss', () => {
  it.each([
    { clip: 0.2, valueClip: 0.2 },
    { clip: 0.1, valueClip: null },
  ])('has the papers’ value and its gradient by finite differences: %o', ({ clip, valueClip }) => {
    const options = { clipRange: clip, valueClipRange: valueClip, valueCoefficient: 0.3 };
    const output = proximalPolicyLoss(input, options);
    const expected = definition({ clip, valueClip }, input);
    expect(output.policyLoss).toBeCloseTo(expected.policy, 12);
    expect(output.valueLoss).toBeCloseTo(expected.value, 12);
    expect(output.loss).toBeCloseTo(expected.policy + 0.3 * expected.value, 12);
    // Both sides of both clips have to be there.
    const total = (changed: typeof input): number => {
      const { policy, value } = definition({ clip, valueClip }, changed);
      return policy + 0.3 * value;
    };
    const step = 1e-6;
    for (const [name, gradients] of [
      ['logProbabilities', output.logProbabilityGradients],
      ['values', output.valueGradients],
    ] as const) {
      for (let i = 0; i < tokens; i++) {
        const moved = (by: number) => ({ ...input, [name]: input[name].map((x, j) => (j === i ? x + by : x)) });
        const slope = (total(moved(step)) - total(moved(-step))) / (2 * step);
        expect(gradients[i]).toBeCloseTo(slope, 6);
      }
    }
    expect(output.clipFraction).toBeGreaterThan(0.1);
    expect(output.clipFraction).toBeLessThan(0.9);
  });

  it('before any update has ratio 1: no KL, no clipping, the policy gradient −advantage / tokens', () => {
    const fresh = { ...input, logProbabilities: input.oldLogProbabilities };
    const output = proximalPolicyLoss(fresh, { clipRange: 0.2, valueClipRange: 0.2, valueCoefficient: 0 });
    expect(output.approximateKl).toBe(0);
    expect(output.clipFraction).toBe(0);
    expect(output.ratioMaximum).toBe(1);
    input.advantages.forEach((advantage, i) =>
      expect(output.logProbabilityGradients[i]).toBeCloseTo(-advantage / tokens, 7),
    );
  });

  it('adds up over parts when given the whole’s token count', () => {
    const options = { clipRange: 0.2, valueClipRange: 0.2, valueCoefficient: 0.3 };
    const part = (from: number, to: number) =>
      proximalPolicyLoss(
        Object.fromEntries(Object.entries(input).map(([key, value]) => [key, value.slice(from, to)])) as typeof input,
        { ...options, normalizer: tokens },
      ).loss;
    expect(part(0, 20) + part(20, tokens)).toBeCloseTo(proximalPolicyLoss(input, options).loss, 12);
  });
});
