/** Rewards are plain functions of a prompt and a completion; verifiers say right or wrong. */
import type { Prompt } from '../data/records.js';

export interface Completion {
  /** Without special tokens. */
  text: string;
  /** Number of tokens, the end of turn included. */
  tokens: number;
  /** 'length': cut off before the end of turn. */
  finishReason: 'stop' | 'length';
}

/** A reward with the parts it was made of, whose means become metrics. */
export interface RewardBreakdown {
  reward: number;
  parts: Readonly<Record<string, number>>;
}

export type RewardFunction = (
  prompt: Prompt,
  completion: Completion,
) => number | RewardBreakdown | Promise<number | RewardBreakdown>;

export interface Verifier {
  readonly name: string;
  /** Is the completion a right answer to the prompt? Throws PosttrainError MISSING_FIELD when the prompt can't be judged. */
  verify(prompt: Prompt, completion: Completion): boolean | Promise<boolean>;
}
