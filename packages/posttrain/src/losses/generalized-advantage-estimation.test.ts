import { describe, expect, it } from 'vitest';
import { generalizedAdvantageEstimation, whiten } from './generalized-advantage-estimation.js';

/** The definition, O(T²): A_t = Σ_l (γλ)^l δ_{t+l}, δ_t = r_t + γ V_{t+1} − V_t, V_T = 0. */
function naive(rewards: number[], values: number[], gamma: number, lambda: number): number[] {
  const delta = rewards.map((reward, t) => reward + gamma * (values[t + 1] ?? 0) - values[t]);
  return rewards.map((_, t) => {
    let sum = 0;
    for (let l = 0; t + l < rewards.length; l++) sum += (gamma * lambda) ** l * delta[t + l];
    return sum;
  });
}

function numbers(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed) * 2);
}

describe('generalizedAdvantageEstimation', () => {
  it.each([
    [1, 0.95],
    [0.99, 0.9],
    [0.9, 0],
    [1, 1],
    [0, 0.5],
  ])('equals the quadratic definition for gamma %s and lambda %s, episode by episode', (gamma, lambda) => {
    const lengths = [7, 1, 40, 13];
    const rewards = lengths.map((length, i) => numbers(length, i));
    const values = lengths.map((length, i) => numbers(length, i + 10));
    const offsets = [0, 7, 8, 48, 61];
    const { advantages, returns } = generalizedAdvantageEstimation({
      rewards: rewards.flat(),
      values: values.flat(),
      offsets,
      gamma,
      lambda,
    });
    const expected = rewards.flatMap((episode, i) => naive(episode, values[i], gamma, lambda));
    expected.forEach((advantage, t) => {
      expect(advantages[t]).toBeCloseTo(advantage, 12);
      expect(returns[t]).toBeCloseTo(advantage + values.flat()[t], 12);
    });
  });

  it('with lambda 1 and gamma 1 makes the return the sum of the rewards to come', () => {
    const { returns } = generalizedAdvantageEstimation({
      rewards: [1, 2, 4],
      values: [9, -3, 5],
      offsets: [0, 3],
      gamma: 1,
      lambda: 1,
    });
    expect([...returns]).toEqual([7, 6, 4]);
  });
});

describe('whiten', () => {
  it('gives mean 0 and standard deviation 1, and zeros for constants', () => {
    const white = whiten([1, 2, 3, 4, 10]);
    expect(white.reduce((a, b) => a + b)).toBeCloseTo(0, 12);
    expect(white.reduce((a, b) => a + b * b, 0) / 5).toBeCloseTo(1, 6);
    expect([...whiten([3, 3, 3])]).toEqual([0, 0, 0]);
  });
});
