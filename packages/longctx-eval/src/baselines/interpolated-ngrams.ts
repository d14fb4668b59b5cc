/**
 * Jelinek–Mercer interpolation (Jelinek and Mercer 1980; Chen and Goodman 1999, section 2.3):
 *
 *   p1(w)   = a · c(w)/N + (1 − a) · 1/V
 *   p2(w|v) = b(v) · c(v,w)/c(v) + (1 − b(v)) · p1(w)
 *
 * with b tied among contexts of like counts (buckets of powers of two). The weights are tuned by expectation maximisation on
 * tokens that were not counted, where the likelihood is concave in them.
 */

import { outOfVocabulary, type BigramCounts, type TokenRun } from './bigram-counts.js';

const buckets = 25;
const iterations = 40;

export interface NgramWeights {
  unigram: number;
  /** By floor(log2(c(v))) + 1; index 0 is for contexts never seen and has weight 0. */
  bigram: number[];
}

export class InterpolatedNgrams {
  readonly weights: NgramWeights;

  constructor(
    private readonly counts: BigramCounts,
    tuning: readonly TokenRun[],
  ) {
    this.weights = { unigram: this.tuneUnigram(tuning), bigram: [] };
    this.weights.bigram = this.tuneBigram(tuning);
  }

  unigramProbability(token: number): number {
    const { unigram, total } = this.counts;
    const seen = total === 0 ? 0 : unigram[token] / total;
    return this.weights.unigram * seen + (1 - this.weights.unigram) / unigram.length;
  }

  bigramProbability(previous: number, token: number): number {
    const context = this.counts.contextTotal[previous];
    const lower = this.unigramProbability(token);
    if (context === 0) return lower;
    const weight = this.weights.bigram[bucketOf(context)];
    return (weight * this.counts.bigram(previous, token)) / context + (1 - weight) * lower;
  }

  /** Summed −ln p over every token but the first of each run. */
  score(runs: readonly TokenRun[]): { unigram: number; bigram: number; tokens: number } {
    let unigram = 0;
    let bigram = 0;
    let scored = 0;
    forEachBigram(runs, this.counts.unigram.length, (previous, token) => {
      unigram -= Math.log(this.unigramProbability(token));
      bigram -= Math.log(this.bigramProbability(previous, token));
      scored++;
    });
    return { unigram, bigram, tokens: scored };
  }

  private tuneUnigram(tuning: readonly TokenRun[]): number {
    const { unigram, total } = this.counts;
    if (total === 0) return 0;
    const vocabularySize = unigram.length;
    const tuningCounts = new Float64Array(vocabularySize);
    let tokens = 0;
    forEachBigram(tuning, vocabularySize, (_, token) => {
      tuningCounts[token]++;
      tokens++;
    });
    // Without tuning tokens: the weight of add-one smoothing.
    if (tokens === 0) return total / (total + vocabularySize);
    let weight = 0.9;
    for (let round = 0; round < iterations; round++) {
      let responsibility = 0;
      for (let v = 0; v < vocabularySize; v++) {
        if (tuningCounts[v] === 0) continue;
        const seen = (weight * unigram[v]) / total;
        responsibility += (tuningCounts[v] * seen) / (seen + (1 - weight) / vocabularySize);
      }
      weight = clamp(responsibility / tokens);
    }
    return weight;
  }

  private tuneBigram(tuning: readonly TokenRun[]): number[] {
    // Both probabilities stay fixed while their weights change: gather them once.
    const high: number[][] = Array.from({ length: buckets }, () => []);
    const low: number[][] = Array.from({ length: buckets }, () => []);
    forEachBigram(tuning, this.counts.unigram.length, (previous, token) => {
      const context = this.counts.contextTotal[previous];
      if (context === 0) return;
      const bucket = bucketOf(context);
      high[bucket].push(this.counts.bigram(previous, token) / context);
      low[bucket].push(this.unigramProbability(token));
    });
    const weights = new Array<number>(buckets).fill(0);
    for (let bucket = 1; bucket < buckets; bucket++) {
      // A bucket that tuning never met takes the weight of the one below: contexts seen more often deserve no less.
      weights[bucket] = high[bucket].length === 0 ? weights[bucket - 1] : maximise(high[bucket], low[bucket]);
    }
    return weights;
  }
}

/** Expectation maximisation of the weight in Σ ln(w · high + (1 − w) · low). */
function maximise(high: readonly number[], low: readonly number[]): number {
  let weight = 0.5;
  for (let round = 0; round < iterations; round++) {
    let responsibility = 0;
    for (let i = 0; i < high.length; i++) {
      const part = weight * high[i];
      responsibility += part / (part + (1 - weight) * low[i]);
    }
    weight = clamp(responsibility / high.length);
  }
  return weight;
}

/** Never 0 or 1: a held-out token that tuning did not foresee must keep a probability. */
const clamp = (weight: number): number => Math.min(1 - 1e-6, Math.max(1e-6, weight));

const bucketOf = (count: number): number => Math.min(buckets - 1, Math.floor(Math.log2(count)) + 1);

function forEachBigram(
  runs: readonly TokenRun[],
  vocabularySize: number,
  visit: (previous: number, token: number) => void,
): void {
  for (const { tokens, from, to } of runs) {
    for (let i = from; i < to; i++) {
      const token = tokens[i];
      if (!(token >= 0 && token < vocabularySize)) throw outOfVocabulary(token, i, vocabularySize);
      if (i > from) visit(tokens[i - 1], token);
    }
  }
}
