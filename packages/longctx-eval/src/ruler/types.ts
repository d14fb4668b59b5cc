/** RULER (arXiv 2404.06654): names, samples and results. */

import type { LanguageModelUnderTest, Prompt } from '../model/types.js';
import type { Estimate, RunOptions, SampleRecord } from '../runs/types.js';

export const rulerTaskNames = [
  'niah_single_1',
  'niah_single_2',
  'niah_single_3',
  'niah_multikey_1',
  'niah_multikey_2',
  'niah_multikey_3',
  'niah_multivalue',
  'niah_multiquery',
  'variable_tracking',
  'common_words_extraction',
  'frequent_words_extraction',
  'qa_squad',
  'qa_hotpot',
] as const;

export type RulerTaskName = (typeof rulerTaskNames)[number];

export interface RulerQuestion {
  question: string;
  answers: string[];
  /** Passages that hold the answer. */
  supporting: string[];
  /** Passages that don't. */
  distractors?: string[];
}

export interface RulerSample {
  /** `<task>/<length>/<index>` */
  id: string;
  task: RulerTaskName;
  length: number;
  prompt: string;
  /** Continues the prompt; goes after the chat template's generation prompt where messages are used. */
  answerPrefix: string;
  references: string[];
  maximumNewTokens: number;
  /** Of prompt and answer prefix. */
  promptTokens: number;
}

export interface RulerSources {
  /** Prose for the tasks that hide needles in essays. */
  haystack?: readonly string[];
  squad?: readonly RulerQuestion[];
  hotpot?: readonly RulerQuestion[];
  /** Words of the aggregation tasks. Default: the built-in lists. */
  words?: readonly string[];
}

export interface RulerSampleOptions extends RulerSources {
  task: RulerTaskName;
  /** Tokens of prompt and answer together. */
  length: number;
  samples: number;
  seed?: number;
  countTokens: (prompt: Prompt) => number;
  /** Changes with the tokenizer (its sha256, say); part of the cache's key, so that one folder serves several. */
  tokenizerId?: string;
  /** Samples are kept here as JSONL, under a name that holds the hash of everything they depend on. */
  cacheFolder?: string;
  signal?: AbortSignal;
}

export interface RulerOptions extends RunOptions, RulerSources {
  model: LanguageModelUnderTest;
  /** Default: all thirteen. */
  tasks?: readonly RulerTaskName[];
  lengths: readonly number[];
  /** A task and length; the paper takes 500. Default 100. */
  samples?: number;
  seed?: number;
  countTokens?: (prompt: Prompt) => number;
  tokenizerId?: string;
  cacheFolder?: string;
  /** Send prompt and answer prefix as one user message. Default false: as text to be continued. */
  chat?: boolean;
  /** Default 'ruler'. */
  task?: string;
}

export interface RulerResult {
  task: string;
  model: string;
  settings: Record<string, unknown>;
  cells: { task: RulerTaskName; length: number; score: Estimate }[];
  /** Mean over the tasks, a length. */
  byLength: { length: number; mean: number }[];
  records: SampleRecord[];
}
