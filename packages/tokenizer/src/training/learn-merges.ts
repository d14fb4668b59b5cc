/**
 * Learns BPE merges from word counts (Sennrich et al. 2016, algorithm 1), with pair counts updated only where a merge
 * changes them. Merges, ids and ties are those of Hugging Face's BpeTrainer for the same settings: most frequent pair
 * first, ties to the smaller left id, then the smaller right id; a merge whose text exists already (by another split, or
 * as a special token) keeps the existing id.
 *
 * Memory: 4 bytes a symbol of the distinct words, 8 bytes a pair occurrence, about 40 bytes a distinct pair. Time: linear
 * in the occurrences touched, plus the queue.
 */
import { byteCharacters } from '../byte-level-alphabet.js';
import { TokenizerError } from '../errors.js';
import type { LongTaskOptions } from '../types.js';
import { MergeQueue } from './merge-queue.js';
import { PairTable } from './pair-table.js';
import type { WordCounts } from './word-counter.js';
import { WordLists } from './word-lists.js';

export interface LearnMergesOptions extends LongTaskOptions {
  vocabularySize: number;
  specialTokens: readonly string[];
  /** A pair must occur this often to be merged. */
  minimumFrequency: number;
  /** Merges that would give a token of this many bytes or more are not counted (Hugging Face's max_token_length). */
  maximumTokenLength: number;
  /** Which bytes get a token: all 256, or those that occur. */
  alphabet: 'all' | 'seen';
}

export interface LearnedMerges {
  /** Token of each id. */
  tokens: string[];
  merges: [string, string][];
}

const yieldAfterMilliseconds = 50;

export async function learnMerges(words: WordCounts, options: LearnMergesOptions): Promise<LearnedMerges> {
  const learner = new MergeLearner(words, options);
  for (;;) {
    options.onProgress?.({
      task: 'learn merges',
      completed: learner.tokens.length,
      total: options.vocabularySize,
      unit: 'tokens',
    });
    await new Promise((resolve) => setImmediate(resolve));
    if (options.signal?.aborted === true) {
      throw new TokenizerError('ABORTED', 'Training was stopped.', {
        cause: options.signal.reason,
        remedy: 'Run it again; with a checkpointFolder it continues from the word counts.',
      });
    }
    const started = performance.now();
    do {
      for (let i = 0; i < 16; i++) if (!learner.step()) return learner.result();
    } while (performance.now() - started < yieldAfterMilliseconds);
  }
}

class MergeLearner {
  readonly tokens: string[] = [];
  private readonly ids = new Map<string, number>();
  private readonly options: LearnMergesOptions;
  private readonly counts: Float64Array;
  private readonly wordStarts: Float64Array;
  private readonly wordLengths: Int32Array;
  private readonly symbols: Int32Array;
  private readonly table = new PairTable();
  private readonly queue = new MergeQueue(this.table);
  private readonly lists = new WordLists();
  /** For each pair: words that gained it since it was last queued, and the last of them. */
  private gained = new Int32Array(0);
  private lastWord = new Int32Array(0);
  private touched: number[] = [];
  private readonly mergedPairs: number[] = [];
  private readonly lastMerge = new Map<number, number>();

  constructor(words: WordCounts, options: LearnMergesOptions) {
    this.options = options;
    this.counts = words.counts;
    this.wordStarts = words.starts;
    this.wordLengths = new Int32Array(words.counts.length);
    for (let word = 0; word < words.counts.length; word++) {
      this.wordLengths[word] = words.starts[word + 1] - words.starts[word];
    }
    for (const token of options.specialTokens) this.addToken(token);
    const byteIds = this.addAlphabet(words.bytes);
    this.symbols = new Int32Array(words.bytes.length);
    for (let i = 0; i < words.bytes.length; i++) this.symbols[i] = byteIds[words.bytes[i]];
    for (let word = 0; word < words.counts.length; word++) {
      const start = this.wordStarts[word];
      const end = start + this.wordLengths[word];
      for (let i = start; i + 1 < end; i++) {
        this.gain(this.symbols[i], this.symbols[i + 1], word, this.counts[word]);
      }
    }
    this.queueGained();
  }

  /** Makes one merge; false when training is over. */
  step(): boolean {
    const { table, queue, options } = this;
    if (this.tokens.length >= options.vocabularySize) return false;
    for (;;) {
      if (queue.size === 0) return false;
      const count = table.counts[queue.topPair];
      if (count === queue.topCount) break;
      queue.lowerTop(count);
    }
    if (queue.topCount < 1 || queue.topCount < options.minimumFrequency) return false;
    const pair = queue.topPair;
    const list = queue.topList;
    queue.pop();
    const left = table.left[pair];
    const right = table.right[pair];
    const merged = this.addToken(this.tokens[left] + this.tokens[right]);
    this.lastMerge.set(pair, this.mergedPairs.length);
    this.mergedPairs.push(pair);
    for (let node = list; node >= 0;) {
      this.mergeInWord(this.lists.wordAt(node), left, right, merged);
      const next = this.lists.nextOf(node);
      this.lists.release(node);
      node = next;
    }
    this.queueGained();
    return true;
  }

  result(): LearnedMerges {
    // A pair can be merged twice when its text had an id before; it keeps its last rank, as in Hugging Face's map.
    const pairs = this.mergedPairs.filter((pair, rank) => this.lastMerge.get(pair) === rank);
    const { left, right } = this.table;
    return { tokens: this.tokens, merges: pairs.map((pair) => [this.tokens[left[pair]], this.tokens[right[pair]]]) };
  }

  private addToken(token: string): number {
    let id = this.ids.get(token);
    if (id === undefined) {
      id = this.tokens.length;
      this.ids.set(token, id);
      this.tokens.push(token);
    }
    return id;
  }

  /** Adds the bytes' characters in order of code point; returns the id of each byte. */
  private addAlphabet(bytes: Uint8Array): Int32Array {
    const seen = new Uint8Array(256);
    for (let i = 0; i < bytes.length; i++) seen[bytes[i]] = 1;
    const order = Array.from({ length: 256 }, (_, byte) => byte).sort(
      (a, b) => byteCharacters[a].charCodeAt(0) - byteCharacters[b].charCodeAt(0),
    );
    const ids = new Int32Array(256).fill(-1);
    for (const byte of order) {
      if (this.options.alphabet === 'all' || seen[byte] === 1) ids[byte] = this.addToken(byteCharacters[byte]);
    }
    return ids;
  }

  private mergeInWord(word: number, left: number, right: number, merged: number): void {
    const { symbols, tokens } = this;
    const start = this.wordStarts[word];
    const length = this.wordLengths[word];
    const end = start + length;
    const count = this.counts[word];
    const longest = this.options.maximumTokenLength;
    const mergedLength = tokens[merged].length;
    let write = start;
    for (let read = start; read < end; read++) {
      const symbol = symbols[read];
      if (symbol !== left || read + 1 >= end || symbols[read + 1] !== right) {
        symbols[write++] = symbol;
        continue;
      }
      read++;
      if (write > start) {
        const before = symbols[write - 1];
        this.lose(before, left, count);
        if (tokens[before].length + mergedLength < longest) this.gain(before, merged, word, count);
      }
      symbols[write++] = merged;
      if (read + 1 < end) {
        const after = symbols[read + 1];
        this.lose(right, after, count);
        if (tokens[after].length + mergedLength < longest) this.gain(merged, after, word, count);
      }
    }
    this.wordLengths[word] = write - start;
  }

  private lose(left: number, right: number, count: number): void {
    const pair = this.table.find(left, right);
    // Pairs over the length limit were never counted, and never will be.
    if (pair >= 0) this.table.counts[pair] -= count;
  }

  private gain(left: number, right: number, word: number, count: number): void {
    const { table } = this;
    const pair = table.intern(left, right);
    table.counts[pair] += count;
    if (pair >= this.gained.length) this.growPairs(table.left.length);
    if (this.gained[pair] >= 0) {
      if (this.lastWord[pair] === word) return;
    } else this.touched.push(pair);
    this.gained[pair] = this.lists.prepend(this.gained[pair], word);
    this.lastWord[pair] = word;
  }

  private growPairs(size: number): void {
    const gained = new Int32Array(size).fill(-1);
    gained.set(this.gained);
    const lastWord = new Int32Array(size);
    lastWord.set(this.lastWord);
    this.gained = gained;
    this.lastWord = lastWord;
  }

  private queueGained(): void {
    for (const pair of this.touched) {
      const count = this.table.counts[pair];
      if (count > 0) this.queue.push(pair, count, this.gained[pair]);
      this.gained[pair] = -1;
    }
    this.touched = [];
  }
}
