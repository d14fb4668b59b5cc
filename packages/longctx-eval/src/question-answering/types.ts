/** Questions about long documents. */

import type { LanguageModelUnderTest, Prompt } from '../model/types.js';
import type { Estimate, RunOptions, SampleRecord } from '../runs/types.js';

export interface DocumentQuestion {
  id: string;
  /** What results are grouped by: `longdep_qa/computation`, say. */
  group: string;
  document: string;
  question: string;
  /** Any of them counts. */
  answers: string[];
}

export interface QuestionAnsweringOptions extends RunOptions {
  model: LanguageModelUnderTest;
  questions: readonly DocumentQuestion[];
  prompt?: (question: DocumentQuestion) => Prompt;
  /** Longer documents lose their middle. Default: no limit. */
  maximumPromptTokens?: number;
  countTokens?: (prompt: Prompt) => number;
  maximumNewTokens?: number;
  stop?: readonly string[];
  /** The one that becomes each record's `score`. Default 'f1'. */
  metric?: 'exact' | 'f1' | 'rougeL';
  /** Default 'question-answering'. */
  task?: string;
}

export interface QuestionAnsweringScores {
  exact: Estimate;
  f1: Estimate;
  rougeL: Estimate;
}

export interface QuestionAnsweringResult {
  task: string;
  model: string;
  settings: Record<string, unknown>;
  overall: QuestionAnsweringScores;
  groups: ({ group: string } & QuestionAnsweringScores)[];
  /** Documents that had to be shortened. */
  truncated: number;
  records: SampleRecord[];
}
