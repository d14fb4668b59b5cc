/**
 * Trains a byte-level BPE tokenizer: texts → pre-token counts (worker threads) → merges (this thread).
 *
 * Counts are sums, and merges depend on counts only, so the result is the same whatever the number of workers and the
 * order of texts. Memory: the distinct pre-tokens, never the texts.
 */
import { createHash, type Hash } from 'node:crypto';
import { z } from 'zod';
import { TokenizerError } from '../errors.js';
import { preTokenizerPresets, presetRules } from '../pre-tokenizer.js';
import { buildTokenizerDefinition, standardSpecialTokens } from '../tokenizer-definition.js';
import type { LongTaskOptions, PreTokenizerPreset, TokenizerDefinition } from '../types.js';
import { resolveWorkerCount } from '../worker-pool.js';
import { learnMerges } from './learn-merges.js';
import { readTrainingCheckpoint, writeTrainingCheckpoint } from './training-checkpoint.js';
import type { WordCounts } from './word-counter.js';
import { WordCounting } from './word-counting.js';

export interface TrainOptions extends LongTaskOptions {
  /** Tokens in all: special tokens, 256 bytes, merges. Fewer result when the texts have no more pairs to merge. */
  vocabularySize: number;
  /** Default `llama3`. */
  preTokenizer?: PreTokenizerPreset;
  /** In order of id from 0; default `standardSpecialTokens`. */
  specialTokens?: readonly string[];
  /** A pair must occur this often to become a token; default 2. */
  minimumFrequency?: number;
  /** Tokens stay under this many bytes; default no limit. */
  maximumTokenLength?: number;
  /** Threads that count; 0 for none besides this one; default one for each core. */
  workers?: number;
  /** Where word counts are kept, so that the same call continues after an interruption. */
  checkpointFolder?: string;
  /** Text between checkpoints, in UTF-16 units (bytes, where it is ASCII); default 2³⁰. */
  checkpointEveryBytes?: number;
}

const optionsSchema = z.strictObject({
  vocabularySize: z.int().positive().max(0xffffff),
  preTokenizer: z.enum(preTokenizerPresets as [PreTokenizerPreset, ...PreTokenizerPreset[]]).default('llama3'),
  specialTokens: z.array(z.string().min(1)).default([...standardSpecialTokens]),
  minimumFrequency: z.int().nonnegative().default(2),
  maximumTokenLength: z.int().min(2).default(Number.MAX_SAFE_INTEGER),
  workers: z.int().nonnegative().optional(),
  checkpointFolder: z.string().min(1).optional(),
  checkpointEveryBytes: z
    .int()
    .positive()
    .default(1 << 30),
  onProgress: z.custom<LongTaskOptions['onProgress']>((value) => typeof value === 'function').optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * @param texts the training texts, each read once; merges never cross from one to the next
 * @returns the definition that `writeTokenizerFolder` writes
 * @throws TokenizerError `INVALID_OPTIONS`, `RESUME_MISMATCH`, `ABORTED`, `WORKER_FAILED`, `INVALID_CORPUS`
 */
export async function trainBytePairEncoding(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainOptions,
): Promise<TokenizerDefinition> {
  const parsed = optionsSchema.safeParse(options);
  if (!parsed.success) {
    throw new TokenizerError(
      'INVALID_OPTIONS',
      `The training options are not valid: ${z.prettifyError(parsed.error)}.`,
      {
        value: options,
      },
    );
  }
  const settings = parsed.data;
  const specialTokens = [...new Set(settings.specialTokens)];
  const least = 256 + specialTokens.length;
  if (settings.vocabularySize < least) {
    throw new TokenizerError('INVALID_OPTIONS', `vocabularySize is ${settings.vocabularySize}.`, {
      value: settings.vocabularySize,
      remedy: `The 256 bytes and ${specialTokens.length} special tokens alone need ${least}.`,
    });
  }
  const words = await countWords(texts, settings);
  const learned = await learnMerges(words, { ...settings, specialTokens, alphabet: 'all' });
  return buildTokenizerDefinition({ ...learned, specialTokens, preTokenizer: settings.preTokenizer });
}

type Settings = z.output<typeof optionsSchema>;

async function countWords(texts: Iterable<string> | AsyncIterable<string>, settings: Settings): Promise<WordCounts> {
  const { checkpointFolder, preTokenizer, onProgress } = settings;
  const saved = checkpointFolder === undefined ? undefined : await readTrainingCheckpoint(checkpointFolder);
  if (saved !== undefined && saved.preTokenizer !== preTokenizer) {
    throw new TokenizerError(
      'RESUME_MISMATCH',
      `The checkpoint in ${checkpointFolder} was counted with ${saved.preTokenizer}.`,
      { value: preTokenizer, remedy: 'Use that pre-tokenizer, or another checkpointFolder.' },
    );
  }
  if (saved?.complete === true) return saved.words;
  const skip = saved?.texts ?? 0;
  const hash = checkpointFolder === undefined ? undefined : createHash('sha256');
  const workers = resolveWorkerCount(settings.workers);
  const counting = new WordCounting({ rules: presetRules(preTokenizer), workers, onProgress, earlier: saved?.words });
  let consumed = 0;
  let sinceCheckpoint = 0;

  const save = async (complete: boolean) => {
    if (checkpointFolder === undefined || hash === undefined) return;
    const words = await counting.collect();
    const textsSha256 = hash.copy().digest('hex');
    await writeTrainingCheckpoint(checkpointFolder, { preTokenizer, texts: consumed, complete, textsSha256, words });
    sinceCheckpoint = 0;
  };
  const pause = async () => {
    await counting.flush();
    if (sinceCheckpoint >= settings.checkpointEveryBytes) await save(false);
    if (settings.signal?.aborted !== true) return;
    await save(false);
    throw new TokenizerError('ABORTED', 'Training was stopped.', {
      cause: settings.signal.reason,
      remedy: checkpointFolder === undefined ? undefined : 'Run it again with the same checkpointFolder to continue.',
    });
  };
  /** Takes a text; gives a promise when there is something to wait for. */
  const take = (text: unknown): Promise<void> | undefined => {
    if (typeof text !== 'string') {
      throw new TokenizerError('INVALID_CORPUS', `Text ${consumed} is ${typeof text}, not a string.`, { value: text });
    }
    consumed++;
    if (hash !== undefined) hashText(hash, text);
    if (consumed <= skip) {
      if (consumed === skip) checkSameTexts(hash, saved?.textsSha256, consumed);
      return undefined;
    }
    sinceCheckpoint += text.length;
    const full = counting.add(text);
    const due = sinceCheckpoint >= settings.checkpointEveryBytes || settings.signal?.aborted === true;
    return full || due ? pause() : undefined;
  };

  try {
    // Waiting for every text of an array would cost more than counting it.
    if (Symbol.iterator in texts) {
      for (const text of texts) {
        const waiting = take(text);
        if (waiting !== undefined) await waiting;
      }
    } else for await (const text of texts) await take(text);
    if (consumed < skip) checkSameTexts(hash, saved?.textsSha256, consumed);
    await save(true);
    return await counting.collect();
  } finally {
    await counting.close();
  }
}

function hashText(hash: Hash, text: string): void {
  hash.update(`${text.length}:`);
  hash.update(text);
}

function checkSameTexts(hash: Hash | undefined, expected: string | undefined, texts: number): void {
  if (hash?.copy().digest('hex') === expected) return;
  throw new TokenizerError(
    'RESUME_MISMATCH',
    `The first ${texts} texts are not those that the checkpoint has counted.`,
    {
      value: texts,
      remedy: 'Give the same texts in the same order, or another checkpointFolder.',
    },
  );
}
