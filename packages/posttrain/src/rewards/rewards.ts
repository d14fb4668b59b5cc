/** Building blocks for reward functions: each is a plain function, and `composeRewards` adds them up. */
import { PosttrainError } from '../errors.js';
import type { Prompt } from '../data/records.js';
import type { Completion, RewardBreakdown, RewardFunction, Verifier } from './types.js';

/** `right` (default 1) for a verified answer, `wrong` (default 0) for any other. */
export function verifierReward(
  verifier: Verifier,
  { right = 1, wrong = 0 }: { right?: number; wrong?: number } = {},
): RewardFunction {
  return async (prompt, completion) => ((await verifier.verify(prompt, completion)) ? right : wrong);
}

/** 1 where the completion's text matches, else 0. */
export function formatReward(pattern: RegExp): RewardFunction {
  // A global or sticky expression remembers where it stopped, which would make rewards depend on their order.
  const expression = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
  return (_prompt, { text }) => (expression.test(text) ? 1 : 0);
}

/** 0 up to `freeTokens`, then falling linearly to −1 at `maximumTokens` and staying there. */
export function lengthPenalty({
  freeTokens,
  maximumTokens,
}: {
  freeTokens: number;
  maximumTokens: number;
}): RewardFunction {
  if (!(freeTokens >= 0) || !(maximumTokens > freeTokens)) {
    throw new PosttrainError(
      'INVALID_ARGUMENT',
      `lengthPenalty got freeTokens ${freeTokens}, maximumTokens ${maximumTokens}.`,
      {
        value: { freeTokens, maximumTokens },
        remedy: 'Pass 0 ≤ freeTokens < maximumTokens.',
      },
    );
  }
  return (_prompt, { tokens }) => -Math.min(1, Math.max(0, (tokens - freeTokens) / (maximumTokens - freeTokens)));
}

/** The weighted sum of the parts; each part's unweighted mean becomes a metric under its name. */
export function composeRewards(
  parts: Readonly<Record<string, { reward: RewardFunction; weight: number }>>,
): RewardFunction {
  for (const [name, { weight }] of Object.entries(parts)) {
    if (!Number.isFinite(weight)) {
      throw new PosttrainError('INVALID_ARGUMENT', `The weight of the reward "${name}" is ${weight}.`, {
        value: weight,
        remedy: 'Pass a finite number.',
      });
    }
  }
  return async (prompt, completion): Promise<RewardBreakdown> => {
    const values: Record<string, number> = {};
    let sum = 0;
    for (const [name, { reward, weight }] of Object.entries(parts)) {
      const { reward: value } = await evaluateReward(reward, prompt, completion);
      values[name] = value;
      sum += weight * value;
    }
    return { reward: sum, parts: values };
  };
}

/** Calls a reward function and checks what it gives. Throws PosttrainError REWARD_FAILED with the prompt in it. */
export async function evaluateReward(
  reward: RewardFunction,
  prompt: Prompt,
  completion: Completion,
): Promise<RewardBreakdown> {
  const where = `the prompt ${JSON.stringify(prompt.prompt).slice(0, 200)}`;
  let value: number | RewardBreakdown;
  try {
    value = await reward(prompt, completion);
  } catch (cause) {
    if (PosttrainError.isInstance(cause)) throw cause;
    throw new PosttrainError('REWARD_FAILED', `The reward function threw for ${where}: ${String(cause)}.`, {
      value: completion,
      remedy: 'Return a number for every completion, also an empty or a senseless one.',
      cause,
    });
  }
  const breakdown = typeof value === 'number' ? { reward: value, parts: {} } : value;
  if (!Number.isFinite(breakdown?.reward)) {
    throw new PosttrainError('REWARD_FAILED', `The reward function gave ${String(breakdown?.reward)} for ${where}.`, {
      value,
      remedy: 'Return a finite number for every completion.',
    });
  }
  return breakdown;
}
