import { describe, expect, it } from 'vitest';
import { claimsOf, type EvaluationSummary } from './claims.js';

const estimate = (mean: number) => ({ mean, low: mean, high: mean, count: 100 });

function summary(change: { model?: number; after?: number; ppo?: number[] } = {}): EvaluationSummary {
  const { model = 3, after = 0.9, ppo = [0.6, 0.62, 0.64] } = change;
  const needle = (mean: number) => ({
    lengths: [2048],
    depths: [0],
    matrix: [[mean]],
    byLength: [{ length: 2048, accuracy: estimate(mean) }],
  });
  return {
    losses: {
      contextLength: 256,
      uniform: 8,
      domains: { code: { tokens: 10, unigram: 6, bigram: 4, pretrain: model, extend: model } },
    },
    needle: { before: needle(0.1), after: needle(after) },
    maths: [
      { name: 'sft', sampled: estimate(0.5), greedy: estimate(0.5) },
      ...ppo.map((mean, i) => ({ name: `ppo-seed-${i}`, sampled: estimate(mean), greedy: estimate(mean) })),
    ],
  };
}

describe('claimsOf', () => {
  it('holds where the figures say so', () => {
    expect(claimsOf(summary()).map(({ holds }) => holds)).toEqual([true, true, true]);
  });
  it('fails each claim by its own figure', () => {
    expect(claimsOf(summary({ model: 3.95 })).map(({ holds }) => holds)).toEqual([false, true, true]);
    expect(claimsOf(summary({ after: 0.4 })).map(({ holds }) => holds)).toEqual([true, false, true]);
    expect(claimsOf(summary({ ppo: [0.51, 0.6, 0.66] })).map(({ holds }) => holds)).toEqual([true, true, false]);
    expect(claimsOf(summary({ ppo: [0.9] })).map(({ holds }) => holds)).toEqual([true, true, false]);
  });
});
