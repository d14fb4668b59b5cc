/**
 * Unigram and bigram counts of token streams, kept as compressed rows: for each context its successors in ascending order and
 * their counts. Built by two counting passes and a sort inside each row. Memory: 8 bytes a counted token at the peak, then 8
 * bytes a distinct bigram; ten million tokens take about two seconds.
 */

import { EvaluationError } from '../errors.js';
import type { TokenArray } from './types.js';

/** A run of tokens without a document boundary inside. */
export interface TokenRun {
  tokens: TokenArray;
  from: number;
  to: number;
}

export class BigramCounts {
  private constructor(
    /** [V]: tokens counted, the first of each run included. */
    readonly unigram: Float64Array,
    readonly total: number,
    /** [V]: bigrams that begin with the token. */
    readonly contextTotal: Float64Array,
    /** [V + 1]: where each context's row begins. */
    private readonly rowStart: Uint32Array,
    private readonly successors: Uint32Array,
    private readonly counts: Uint32Array,
  ) {}

  static of(runs: readonly TokenRun[], vocabularySize: number): BigramCounts {
    const unigram = new Float64Array(vocabularySize);
    const contextTotal = new Float64Array(vocabularySize);
    let total = 0;
    for (const { tokens, from, to } of runs) {
      for (let i = from; i < to; i++) {
        const token = tokens[i];
        if (!(token >= 0 && token < vocabularySize)) throw outOfVocabulary(token, i, vocabularySize);
        unigram[token]++;
        if (i + 1 < to) contextTotal[token]++;
      }
      total += to - from;
    }
    const occurrenceStart = new Uint32Array(vocabularySize + 1);
    for (let v = 0; v < vocabularySize; v++) occurrenceStart[v + 1] = occurrenceStart[v] + contextTotal[v];
    const occurrences = new Uint32Array(occurrenceStart[vocabularySize]);
    const cursor = occurrenceStart.slice(0, vocabularySize);
    for (const { tokens, from, to } of runs) {
      for (let i = from; i + 1 < to; i++) occurrences[cursor[tokens[i]]++] = tokens[i + 1];
    }
    return BigramCounts.compress(unigram, total, contextTotal, occurrenceStart, occurrences);
  }

  /** Sorts each row and collapses repeats, in place: the write position never passes the read position. */
  private static compress(
    unigram: Float64Array,
    total: number,
    contextTotal: Float64Array,
    occurrenceStart: Uint32Array,
    occurrences: Uint32Array,
  ): BigramCounts {
    const vocabularySize = unigram.length;
    const rowStart = new Uint32Array(vocabularySize + 1);
    const repeats = new Uint32Array(occurrences.length);
    let write = 0;
    for (let v = 0; v < vocabularySize; v++) {
      rowStart[v] = write;
      const row = occurrences.subarray(occurrenceStart[v], occurrenceStart[v + 1]).sort();
      for (let i = 0; i < row.length;) {
        const successor = row[i];
        let end = i + 1;
        while (end < row.length && row[end] === successor) end++;
        occurrences[write] = successor;
        repeats[write++] = end - i;
        i = end;
      }
    }
    rowStart[vocabularySize] = write;
    return new BigramCounts(
      unigram,
      total,
      contextTotal,
      rowStart,
      occurrences.slice(0, write),
      repeats.slice(0, write),
    );
  }

  /** How often `next` followed `previous`; a binary search in the row. */
  bigram(previous: number, next: number): number {
    let low = this.rowStart[previous];
    let high = this.rowStart[previous + 1];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.successors[middle] < next) low = middle + 1;
      else high = middle;
    }
    return low < this.rowStart[previous + 1] && this.successors[low] === next ? this.counts[low] : 0;
  }
}

export function outOfVocabulary(token: number, index: number, vocabularySize: number): EvaluationError {
  return new EvaluationError(
    'INVALID_DATA',
    `Token ${token} at position ${index} lies outside a vocabulary of ${vocabularySize}.`,
    { value: token, remedy: 'Pass the vocabulary size of the tokenizer that made these tokens.' },
  );
}
