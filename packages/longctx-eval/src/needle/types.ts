/** Input and output of the needle-retrieval grid. */

import type { LanguageModelUnderTest, Prompt } from '../model/types.js';
import type { Estimate, RunOptions, SampleRecord } from '../runs/types.js';

/** Plain strings with placeholders, so that a recipe, a training set and an evaluation can share them. */
export interface NeedleTemplate {
  /** The hidden sentence, with `{key}` and `{value}`. */
  needle: string;
  /** What is asked after the context, with `{key}`. The value is expected to follow it directly. */
  question: string;
  /** The whole prompt, with `{context}` and `{question}`. Default `{context}\n\n{question}`. */
  prompt?: string;
  /** Send the prompt as a user message through the chat template. Default false. */
  chat?: boolean;
}

export interface NeedleContextOptions {
  /** Texts that fill the context, joined in a seeded order and repeated if they run out. */
  haystack: readonly string[];
  template?: NeedleTemplate;
  /** Names the needles go by. Default: adjective-noun pairs of the built-in lists. */
  keys?: readonly string[];
  /** What is hidden: one of these, or a number of so many digits. Default 7 digits. */
  values?: readonly string[] | { digits: number };
  /** Other needles, with other keys and values, in the same context. Default 0. */
  distractors?: number;
  countTokens: (prompt: Prompt) => number;
}

export interface NeedleSample {
  id: string;
  prompt: Prompt;
  key: string;
  value: string;
  /** Asked for: tokens of the whole prompt. */
  length: number;
  /** Asked for: share of the context before the needle. */
  depth: number;
  /** As counted; equals `length` unless the tokenizer cannot hit it, and is never above. */
  promptTokens: number;
  /** Where the needle came to lie: share of the context's characters before it. */
  actualDepth: number;
}

export interface NeedleGridOptions extends RunOptions, Omit<NeedleContextOptions, 'countTokens'> {
  model: LanguageModelUnderTest;
  /** Tokens of prompt and answer together: 2048 just fills a model of 2,048 positions. */
  lengths: readonly number[];
  /** Shares of the context before the needle, in [0, 1]. */
  depths: readonly number[];
  /** Samples a cell. Default 10. */
  samples?: number;
  seed?: number;
  /** Tokens for the answer, taken off each length. Default 16. */
  maximumNewTokens?: number;
  stop?: readonly string[];
  /** 'contains' (default): the value occurs in the answer; 'exact': the trimmed answer is the value; 'starts': it starts with it. */
  scoring?: 'contains' | 'exact' | 'starts';
  /** Default: the model's own. */
  countTokens?: (prompt: Prompt) => number;
  /** Names the log and the results. Default 'needle'. */
  task?: string;
}

export interface NeedleGridResult {
  task: string;
  model: string;
  settings: Record<string, unknown>;
  lengths: number[];
  depths: number[];
  /** Accuracy by [length][depth], for a heat map. */
  matrix: number[][];
  cells: { length: number; depth: number; accuracy: Estimate }[];
  byLength: { length: number; accuracy: Estimate }[];
  overall: Estimate;
  records: SampleRecord[];
}
