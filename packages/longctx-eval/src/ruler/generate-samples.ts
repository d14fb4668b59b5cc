/**
 * RULER samples: each depends on the seed, task, length and its index only, fills its length as far as its units allow and
 * never passes it. With a cache folder they are kept as JSONL under a name with the hash of everything they depend on; the
 * first line holds the hash of the rest, so that a damaged file is refused.
 */

import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { fitTokens } from '../context/fit-tokens.js';
import { singleWords } from '../context/words.js';
import { EvaluationError } from '../errors.js';
import { seededRandom, sha256, type SeededRandom } from '../random.js';
import { readText } from '../runs/read-jsonl.js';
import { check, functionOption, throwIfAborted } from '../validate.js';
import { needleTask } from './needle-tasks.js';
import { passagePool, questionTask, requireQuestions } from './question-tasks.js';
import { taskSettings, type TaskDraft } from './task-settings.js';
import { rulerTaskNames, type RulerSample, type RulerSampleOptions } from './types.js';
import { variableTracking } from './variable-tracking.js';
import { commonWordsExtraction, frequentWordsExtraction } from './word-tasks.js';

/** Raised whenever the samples of the same settings change. */
const generatorVersion = 1;

const questionSchema = z.strictObject({
  question: z.string(),
  answers: z.array(z.string()).min(1),
  supporting: z.array(z.string()).min(1),
  distractors: z.array(z.string()).optional(),
});

export const sourceFields = {
  haystack: z.array(z.string()).optional(),
  squad: z.array(questionSchema).optional(),
  hotpot: z.array(questionSchema).optional(),
  words: z.array(z.string().min(1)).min(100).optional(),
};

const optionsSchema = z.strictObject({
  ...sourceFields,
  task: z.enum(rulerTaskNames),
  length: z.int().positive(),
  samples: z.int().positive(),
  seed: z.int().min(0).optional(),
  countTokens: z.custom((value) => typeof value === 'function', 'is no function'),
  tokenizerId: z.string().optional(),
  cacheFolder: z.string().min(1).optional(),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: functionOption,
});

const sampleSchema = z.strictObject({
  id: z.string(),
  task: z.enum(rulerTaskNames),
  length: z.number(),
  prompt: z.string(),
  answerPrefix: z.string(),
  references: z.array(z.string()),
  maximumNewTokens: z.number(),
  promptTokens: z.number(),
});

const cacheHeaderSchema = z.strictObject({
  format: z.literal('xgen-small/ruler-samples'),
  version: z.literal(generatorVersion),
  samples: z.number(),
  sha256: z.string(),
});

export async function generateRulerSamples(options: RulerSampleOptions): Promise<RulerSample[]> {
  check(optionsSchema, options, 'generateRulerSamples');
  const file = options.cacheFolder === undefined ? undefined : cacheFile(options, options.cacheFolder);
  if (file !== undefined && (await exists(file))) return readCache(file);
  const draft = taskDrafts(options);
  const samples: RulerSample[] = [];
  for (let index = 0; index < options.samples; index++) {
    throwIfAborted(options.signal, 'generateRulerSamples');
    samples.push(finishSample(options, index, draft(index)));
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (file !== undefined) await writeCache(file, samples);
  return samples;
}

/** What the samples depend on, hashed; for the cache's name and the settings of a run. */
export function sampleSettings(options: Omit<RulerSampleOptions, 'countTokens'>): Record<string, unknown> {
  const { task, length, samples, seed = 0, tokenizerId } = options;
  const settings = taskSettings[task];
  const usesEssay = settings.kind === 'needle' && settings.haystack === 'essay';
  const questions = settings.kind === 'questions' ? options[settings.source] : undefined;
  return {
    generatorVersion,
    task,
    length,
    samples,
    seed,
    tokenizerId: tokenizerId ?? null,
    haystackSha256: usesEssay ? sha256(JSON.stringify(options.haystack ?? [])) : null,
    questionsSha256: questions ? sha256(JSON.stringify(questions)) : null,
    wordsSha256: settings.kind === 'common-words' ? sha256(JSON.stringify(options.words ?? singleWords)) : null,
  };
}

function taskDrafts(options: RulerSampleOptions): (index: number) => TaskDraft {
  const { task, length, seed = 0 } = options;
  const settings = taskSettings[task];
  const random = (index: number): SeededRandom => seededRandom(seed, 'ruler', task, length, index);
  switch (settings.kind) {
    case 'needle': {
      const words = settings.haystack === 'essay' ? essayWords(options) : [];
      return (index) => needleTask(settings, random(index), words);
    }
    case 'variables':
      return (index) => variableTracking(settings, random(index));
    case 'common-words':
      return (index) => commonWordsExtraction(length, random(index), options.words);
    case 'frequent-words':
      return (index) => frequentWordsExtraction(length, settings.alpha, random(index));
    case 'questions': {
      const questions = requireQuestions(options[settings.source], settings.source);
      const pool = passagePool(questions);
      return (index) => questionTask(questions, pool, index, random(index));
    }
  }
}

function finishSample(options: RulerSampleOptions, index: number, draft: TaskDraft): RulerSample {
  const { task, length, countTokens } = options;
  const { answerTokens } = taskSettings[task];
  const count = (size: number): number => countTokens(draft.build(size).prompt + draft.answerPrefix);
  // Counting with everything would cost megabytes of text: double up to what is surely enough.
  let maximum = Math.min(draft.maximum, Math.max(draft.minimum, 16));
  while (maximum < draft.maximum && count(maximum) <= length - answerTokens) {
    maximum = Math.min(draft.maximum, maximum * 2);
  }
  const fit = fitTokens({
    count,
    target: length - answerTokens,
    minimum: draft.minimum,
    maximum,
    what: `A sample of ${task} with an answer of ${answerTokens} tokens`,
  });
  return {
    id: `${task}/${length}/${index}`,
    task,
    length,
    ...draft.build(fit.size),
    answerPrefix: draft.answerPrefix,
    maximumNewTokens: answerTokens,
    promptTokens: fit.tokens,
  };
}

function essayWords({ haystack, task }: RulerSampleOptions): string[] {
  const words = (haystack ?? [])
    .join(' ')
    .split(/\s+/)
    .filter((word) => word !== '');
  if (words.length >= 100) return words;
  throw new EvaluationError(
    'HAYSTACK_TOO_SHORT',
    `The task ${task} hides its needles in prose, and got ${words.length} words.`,
    {
      value: words.length,
      remedy: 'Pass haystack: texts of at least a few thousand words.',
    },
  );
}

function cacheFile(options: RulerSampleOptions, folder: string): string {
  const hash = sha256(JSON.stringify(sampleSettings(options))).slice(0, 16);
  return path.join(folder, `ruler-${options.task}-${options.length}-${hash}.jsonl`);
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

async function readCache(file: string): Promise<RulerSample[]> {
  const text = await readText(file);
  const end = text.indexOf('\n');
  try {
    const header = cacheHeaderSchema.parse(JSON.parse(text.slice(0, end)));
    const body = text.slice(end + 1);
    if (sha256(body) !== header.sha256) throw new Error('the hash of the samples differs');
    const samples = body.split('\n').filter((line) => line !== '');
    return samples.map((line) => sampleSchema.parse(JSON.parse(line)));
  } catch (cause) {
    throw new EvaluationError('CACHE_CORRUPT', `${file} is damaged: ${(cause as Error).message}.`, {
      value: file,
      remedy: 'Delete it; it is made again.',
      cause,
    });
  }
}

async function writeCache(file: string, samples: readonly RulerSample[]): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const body = samples.map((sample) => `${JSON.stringify(sample)}\n`).join('');
  const header = {
    format: 'xgen-small/ruler-samples',
    version: generatorVersion,
    samples: samples.length,
    sha256: sha256(body),
  };
  await writeFileAtomic(file, `${JSON.stringify(header)}\n${body}`);
}
