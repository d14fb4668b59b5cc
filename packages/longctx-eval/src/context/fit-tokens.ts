/**
 * Sizes a prompt to an exact number of tokens by counting whole prompts, since tokens of the parts do not add up to tokens of
 * the whole. Counts grow almost linearly with the filler, so a guarded secant search needs about ten of them.
 */

import { EvaluationError } from '../errors.js';

export interface FitOptions {
  /** Tokens of the prompt that holds `size` units of filler. Non-decreasing, give or take a few tokens. */
  count: (size: number) => number;
  /** Most tokens allowed. */
  target: number;
  /** Most units there are. */
  maximum: number;
  /** Fewest units that make sense. Default 0. */
  minimum?: number;
  /** Named in errors. */
  what: string;
}

export interface Fit {
  size: number;
  tokens: number;
}

/** The largest size found whose prompt has at most `target` tokens; stops at once where one has exactly so many. */
export function fitTokens({ count, target, maximum, minimum = 0, what }: FitOptions): Fit {
  let low = { size: minimum, tokens: count(minimum) };
  if (low.tokens > target) {
    throw new EvaluationError(
      'CONTEXT_TOO_SHORT',
      `${what} takes ${low.tokens} tokens without any filler, and only ${target} are allowed.`,
      { value: target, remedy: 'Ask for a greater length, or shorten the template or the answer.' },
    );
  }
  if (low.tokens === target || maximum <= minimum) return low;
  let high = { size: maximum, tokens: count(maximum) };
  if (high.tokens <= target) return high;
  for (let round = 0; high.size - low.size > 1; round++) {
    // Every third step halves, so that a jump in the counts cannot make the secant creep.
    const share = round % 3 === 2 ? 0.5 : (target - low.tokens) / (high.tokens - low.tokens);
    const guess = low.size + Math.round(share * (high.size - low.size));
    const size = Math.min(high.size - 1, Math.max(low.size + 1, guess));
    const tokens = count(size);
    if (tokens === target) return { size, tokens };
    if (tokens < target) low = { size, tokens };
    else high = { size, tokens };
  }
  return low;
}

/** As `fitTokens`, for units so small that one of the neighbours usually hits the target where the search just missed it. */
export function fitTokensExactly(options: FitOptions): Fit {
  const fit = fitTokens(options);
  let best = fit;
  for (let distance = 1; best.tokens !== options.target && distance <= 48; distance++) {
    for (const size of [fit.size + distance, fit.size - distance]) {
      if (size < (options.minimum ?? 0) || size > options.maximum) continue;
      const tokens = options.count(size);
      if (tokens <= options.target && tokens > best.tokens) best = { size, tokens };
      if (tokens === options.target) break;
    }
  }
  return best;
}
