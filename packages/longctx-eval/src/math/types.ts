/** Problems with a numeric answer. */

import type { LanguageModelUnderTest, Prompt } from '../model/types.js';
import type { Estimate, RunOptions, SampleRecord } from '../runs/types.js';

export interface MathProblem {
  id: string;
  question: string;
  /** The worked solution; needed only where the problem serves as an example. */
  reasoning?: string;
  answer: string | number;
}

export interface MathAccuracyOptions extends RunOptions {
  model: LanguageModelUnderTest;
  problems: readonly MathProblem[];
  /** Default: the question as one user message. `fewShotMathPrompt` gives the usual text form. */
  prompt?: (problem: MathProblem) => Prompt;
  /** Completions a problem. Default 1. */
  samplesPerProblem?: number;
  /** Default 0 with one completion a problem, else 0.7. */
  temperature?: number;
  topP?: number;
  maximumNewTokens?: number;
  stop?: readonly string[];
  seed?: number;
  /** 'marked' takes only `#### n`, `\boxed{n}` and "answer is n"; 'any' (default) falls back to the last number. */
  extraction?: 'marked' | 'any';
  /** Default 'math'. */
  task?: string;
}

export interface MathAccuracyResult {
  task: string;
  model: string;
  settings: Record<string, unknown>;
  /** Share of right answers; the interval is over problems. */
  accuracy: Estimate;
  /** Right in at least one of k (unbiased, arXiv 2107.03374 eq. 1), for k = 1, 2, 4, … up to the samples taken. */
  passAt: { k: number; value: number }[];
  /** The most frequent answer is right; present with two or more samples. */
  majority?: Estimate;
  /** Share of completions that gave any answer. */
  answered: number;
  records: SampleRecord[];
}
