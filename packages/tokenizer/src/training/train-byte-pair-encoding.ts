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
import { resolveWorkerCount, transferList, WorkerPool } from '../worker-pool.js';
import { learnMerges } from './learn-merges.js';
import { PreTokenCounter, type CountRequest } from './pre-token-counter.js';
import { readTrainingCheckpoint, writeTrainingCheckpoint } from './training-checkpoint.js';
import { WordCounter, type WordCounts } from './word-counter.js';

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
  /** Bytes of text between checkpoints; default 1 GiB. */
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

const batchBytes = 1 << 20;

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
  const { checkpointFolder, preTokenizer } = settings;
  const saved = checkpointFolder === undefined ? undefined : await readTrainingCheckpoint(checkpointFolder);
  if (saved !== undefined && saved.preTokenizer !== preTokenizer) {
    throw new TokenizerError(
      'RESUME_MISMATCH',
      `The checkpoint in ${checkpointFolder} was counted with ${saved.preTokenizer}.`,
      {
        value: preTokenizer,
        remedy: 'Use that pre-tokenizer, or another checkpointFolder.',
      },
    );
  }
  if (saved?.complete === true) return saved.words;
  const counting = new Counting(settings, saved?.words);
  const hash = createHash('sha256');
  try {
    let consumed = 0;
    let sinceCheckpoint = 0;
    const save = async (complete: boolean) => {
      if (checkpointFolder === undefined) return;
      const words = await counting.collect();
      const textsSha256 = hash.copy().digest('hex');
      await writeTrainingCheckpoint(checkpointFolder, { preTokenizer, texts: consumed, complete, textsSha256, words });
    };
    for await (const text of texts) {
      if (typeof text !== 'string') {
        throw new TokenizerError('INVALID_CORPUS', `Text ${consumed} is ${typeof text}, not a string.`, {
          value: text,
        });
      }
      consumed++;
      if (checkpointFolder !== undefined) hashText(hash, text);
      if (consumed <= (saved?.texts ?? 0)) {
        if (consumed === saved?.texts) checkSameTexts(hash, saved.textsSha256, consumed);
        continue;
      }
      const bytes = await counting.add(text);
      sinceCheckpoint += bytes;
      if (sinceCheckpoint >= settings.checkpointEveryBytes) {
        await save(false);
        sinceCheckpoint = 0;
      }
      if (settings.signal?.aborted === true) {
        await save(false);
        throw new TokenizerError('ABORTED', 'Training was stopped.', {
          cause: settings.signal.reason,
          remedy:
            checkpointFolder === undefined ? undefined : 'Run it again with the same checkpointFolder to continue.',
        });
      }
    }
    if (consumed < (saved?.texts ?? 0)) checkSameTexts(hash, saved?.textsSha256 ?? '', consumed);
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

function checkSameTexts(hash: Hash, expected: string, texts: number): void {
  if (hash.copy().digest('hex') === expected) return;
  throw new TokenizerError(
    'RESUME_MISMATCH',
    `The first ${texts} texts are not those that the checkpoint has counted.`,
    {
      value: texts,
      remedy: 'Give the same texts in the same order, or another checkpointFolder.',
    },
  );
}

/** Batches texts into UTF-8 and counts them, on workers or here. */
class Counting {
  private readonly pool: WorkerPool<CountRequest, WordCounts | undefined> | undefined;
  private readonly local: PreTokenCounter;
  private readonly total = new WordCounter();
  private readonly inFlight = new Set<Promise<unknown>>();
  private readonly utf8 = new TextEncoder();
  private readonly settings: Settings;
  private batch: string[] = [];
  private batchLength = 0;
  private bytesCounted = 0;
  private failure: Error | undefined;

  constructor(settings: Settings, saved: WordCounts | undefined) {
    this.settings = settings;
    const workers = resolveWorkerCount(settings.workers);
    const rules = presetRules(settings.preTokenizer);
    this.pool = workers === 0 ? undefined : new WorkerPool('count-worker', workers, rules);
    this.local = new PreTokenCounter(rules);
    if (saved !== undefined) this.total.addAll(saved);
  }

  /** Takes a text; resolves to its UTF-16 length, which is what progress and checkpoints go by. */
  async add(text: string): Promise<number> {
    this.batch.push(text);
    this.batchLength += text.length;
    if (this.batchLength >= batchBytes) await this.flush();
    return text.length;
  }

  /** All counts so far. */
  async collect(): Promise<WordCounts> {
    await this.flush();
    await Promise.all(this.inFlight);
    if (this.failure !== undefined) throw this.failure;
    const tables = this.pool === undefined ? [this.local.take()] : await this.pool.runOnEach({ kind: 'take' });
    for (const table of tables) if (table !== undefined) this.total.addAll(table);
    return this.total.toWordCounts();
  }

  async close(): Promise<void> {
    await this.pool?.close();
  }

  private async flush(): Promise<void> {
    if (this.batch.length === 0) return;
    const request = this.encodeBatch();
    if (this.pool === undefined) {
      this.local.count(request.bytes, request.ends);
      await new Promise((resolve) => setImmediate(resolve));
    } else {
      const counted = this.pool.run(request, transferList(request.bytes, request.ends));
      const tracked = counted
        .catch((error: Error) => (this.failure ??= error))
        .finally(() => this.inFlight.delete(tracked));
      this.inFlight.add(tracked);
      if (this.inFlight.size > 2 * this.pool.size) await Promise.race(this.inFlight);
      if (this.failure !== undefined) throw this.failure;
    }
    this.settings.onProgress?.({ task: 'count words', completed: this.bytesCounted, unit: 'bytes' });
  }

  private encodeBatch(): { kind: 'count'; bytes: Uint8Array; ends: Int32Array } {
    const ends = new Int32Array(this.batch.length);
    let size = 0;
    for (const text of this.batch) size += Buffer.byteLength(text);
    const bytes = new Uint8Array(size);
    let end = 0;
    for (const [i, text] of this.batch.entries()) {
      end += this.utf8.encodeInto(text, bytes.subarray(end)).written;
      ends[i] = end;
    }
    this.bytesCounted += size;
    this.batch = [];
    this.batchLength = 0;
    return { kind: 'count', bytes, ends };
  }
}
