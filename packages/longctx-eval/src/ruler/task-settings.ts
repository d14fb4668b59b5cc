/**
 * What makes each of RULER's thirteen tasks (arXiv 2404.06654, tables 1 and 5, and its published configuration). Numbers follow
 * the paper; the wording of the prompts is this package's own, so scores compare with each other and not digit by digit with
 * published ones.
 */

import type { RulerTaskName } from './types.js';

export interface NeedleSettings {
  kind: 'needle';
  haystack: 'noise' | 'essay' | 'needles';
  keyType: 'words' | 'uuids';
  valueType: 'numbers' | 'uuids';
  keys: number;
  valuesPerKey: number;
  queries: number;
  answerTokens: number;
}

export type TaskSettings =
  | NeedleSettings
  | { kind: 'variables'; chains: number; hops: number; answerTokens: number }
  | { kind: 'common-words'; answerTokens: number }
  | { kind: 'frequent-words'; alpha: number; answerTokens: number }
  | { kind: 'questions'; source: 'squad' | 'hotpot'; answerTokens: number };

const needle = (settings: Partial<NeedleSettings>): NeedleSettings => ({
  kind: 'needle',
  haystack: 'essay',
  keyType: 'words',
  valueType: 'numbers',
  keys: 1,
  valuesPerKey: 1,
  queries: 1,
  answerTokens: 128,
  ...settings,
});

export const taskSettings: Readonly<Record<RulerTaskName, TaskSettings>> = {
  niah_single_1: needle({ haystack: 'noise' }),
  niah_single_2: needle({}),
  niah_single_3: needle({ valueType: 'uuids' }),
  niah_multikey_1: needle({ keys: 4 }),
  niah_multikey_2: needle({ haystack: 'needles' }),
  niah_multikey_3: needle({ haystack: 'needles', keyType: 'uuids', valueType: 'uuids' }),
  niah_multivalue: needle({ valuesPerKey: 4 }),
  niah_multiquery: needle({ keys: 4, queries: 4 }),
  variable_tracking: { kind: 'variables', chains: 1, hops: 4, answerTokens: 30 },
  common_words_extraction: { kind: 'common-words', answerTokens: 120 },
  frequent_words_extraction: { kind: 'frequent-words', alpha: 2, answerTokens: 50 },
  qa_squad: { kind: 'questions', source: 'squad', answerTokens: 32 },
  qa_hotpot: { kind: 'questions', source: 'hotpot', answerTokens: 32 },
};

/** Sentences that say nothing, for the tasks whose haystack is noise. */
export const noiseSentences =
  'The day is warm. The road is long. The birds are singing. We walk on. Later we walk home.';

/** What a generator hands back: the prompt at a size, and what it must contain in its answer. */
export interface TaskDraft {
  /** `size` counts the task's own units: words, sentences, needles, documents. */
  build: (size: number) => { prompt: string; references: string[] };
  answerPrefix: string;
  minimum: number;
  maximum: number;
}
