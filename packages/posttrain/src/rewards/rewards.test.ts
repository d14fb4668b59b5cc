import { describe, expect, it } from 'vitest';
import type { Prompt } from '../data/records.js';
import { numericAnswerVerifier } from './numeric-answer.js';
import { composeRewards, evaluateReward, formatReward, lengthPenalty, verifierReward } from './rewards.js';
import type { Completion } from './types.js';

const prompt: Prompt = { prompt: [{ role: 'user', content: '5 + 7?' }], answer: 12 };
const said = (text: string, tokens = 4): Completion => ({ text, tokens, finishReason: 'stop' });

describe('rewards', () => {
  it('a verifier gives right or wrong', async () => {
    const reward = verifierReward(numericAnswerVerifier(), { right: 2, wrong: -1 });
    expect(await reward(prompt, said('#### 12'))).toBe(2);
    expect(await reward(prompt, said('#### 13'))).toBe(-1);
  });

  it('a format is judged alike however often it is asked, global expressions too', () => {
    const reward = formatReward(/#### -?\d+$/g);
    for (let i = 0; i < 3; i++) expect(reward(prompt, said('#### 12'))).toBe(1);
    expect(reward(prompt, said('12'))).toBe(0);
  });

  it('length costs nothing, then ever more, at most 1', () => {
    const reward = lengthPenalty({ freeTokens: 10, maximumTokens: 20 });
    expect([5, 10, 15, 20, 90].map((tokens) => Number(reward(prompt, said('', tokens))) + 0)).toEqual([
      0, 0, -0.5, -1, -1,
    ]);
    expect(() => lengthPenalty({ freeTokens: 10, maximumTokens: 10 })).toThrowError(/0 ≤ freeTokens < maximumTokens/);
  });

  it('compose as a weighted sum and report their parts', async () => {
    const reward = composeRewards({
      correct: { reward: verifierReward(numericAnswerVerifier()), weight: 1 },
      format: { reward: formatReward(/####/), weight: 0.1 },
      length: { reward: lengthPenalty({ freeTokens: 2, maximumTokens: 6 }), weight: 0.5 },
    });
    const breakdown = await evaluateReward(reward, prompt, said('#### 12', 4));
    expect(breakdown.reward).toBeCloseTo(0.85, 12);
    expect(breakdown.parts).toEqual({ correct: 1, format: 1, length: -0.5 });
    expect(() => composeRewards({ bad: { reward: () => 1, weight: Number.NaN } })).toThrowError(/"bad" is NaN/);
  });

  it('that fail or give no number are named with their prompt', async () => {
    await expect(evaluateReward(() => Number.NaN, prompt, said(''))).rejects.toThrowError(/gave NaN.*5 \+ 7/);
    const broken = () => {
      throw new TypeError('no such field');
    };
    await expect(evaluateReward(broken, prompt, said(''))).rejects.toMatchObject({ code: 'REWARD_FAILED' });
    await expect(evaluateReward(broken, prompt, said(''))).rejects.toThrowError(/no such field/);
    await expect(
      evaluateReward(verifierReward(numericAnswerVerifier({ field: 'x' })), prompt, said('')),
    ).rejects.toMatchObject({ code: 'MISSING_FIELD' });
  });
});
