import { describe, expect, it } from 'vitest';
import { seededRandom } from '../random.js';
import { BigramCounts } from './bigram-counts.js';
import { InterpolatedNgrams } from './interpolated-ngrams.js';
import { ngramBaselines } from './ngram-baselines.js';

/** Draws from a Markov chain; returns tokens and the chain's transition matrix. */
function markovTokens(states: number, length: number, seed: number): { tokens: Uint16Array; transitions: number[][] } {
  const random = seededRandom(seed, 'markov');
  const transitions = Array.from({ length: states }, () => {
    const row = Array.from({ length: states }, () => random.uniform() ** 4);
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map((value) => value / sum);
  });
  const tokens = new Uint16Array(length);
  const draw = seededRandom(seed, 'draw');
  for (let i = 1; i < length; i++) {
    let rest = draw.uniform();
    let next = 0;
    while (next < states - 1 && (rest -= transitions[tokens[i - 1]][next]) > 0) next++;
    tokens[i] = next;
  }
  return { tokens, transitions };
}

describe('BigramCounts', () => {
  it('counts as a plain map does, across runs and never between them', () => {
    const random = seededRandom(1, 'counts');
    const tokens = Uint32Array.from({ length: 5000 }, () => random.integer(40) ** 2 % 60);
    const runs = [
      { tokens, from: 0, to: 1234 },
      { tokens, from: 1234, to: 1235 },
      { tokens, from: 1235, to: 5000 },
    ];
    const counts = BigramCounts.of(runs, 60);
    const expected = new Map<string, number>();
    for (const { from, to } of runs) {
      for (let i = from; i + 1 < to; i++) {
        const key = `${tokens[i]} ${tokens[i + 1]}`;
        expected.set(key, (expected.get(key) ?? 0) + 1);
      }
    }
    for (let a = 0; a < 60; a++) {
      for (let b = 0; b < 60; b++) expect(counts.bigram(a, b)).toBe(expected.get(`${a} ${b}`) ?? 0);
    }
    expect(counts.total).toBe(5000);
  });
});

describe('InterpolatedNgrams', () => {
  it('gives probabilities that sum to one after every context, seen or not', () => {
    const { tokens } = markovTokens(20, 3000, 2);
    const model = new InterpolatedNgrams(BigramCounts.of([{ tokens, from: 0, to: 2800 }], 32), [
      { tokens, from: 2800, to: 3000 },
    ]);
    for (let context = 0; context < 32; context++) {
      let sum = 0;
      for (let token = 0; token < 32; token++) sum += model.bigramProbability(context, token);
      expect(sum).toBeCloseTo(1, 10);
    }
    let sum = 0;
    for (let token = 0; token < 32; token++) sum += model.unigramProbability(token);
    expect(sum).toBeCloseTo(1, 10);
  });

  it('tunes its weights to the best there are', () => {
    const { tokens } = markovTokens(30, 4000, 3);
    const counted = [{ tokens, from: 0, to: 3000 }];
    const tuning = [{ tokens, from: 3000, to: 4000 }];
    const model = new InterpolatedNgrams(BigramCounts.of(counted, 500), tuning);
    const best = model.score(tuning);
    const weights = model.weights.bigram;
    for (let bucket = 1; bucket < 12; bucket++) {
      const weight = weights[bucket];
      for (const other of [weight * 0.98, Math.min(0.999, weight * 1.02)]) {
        weights[bucket] = other;
        expect(model.score(tuning).bigram).toBeGreaterThanOrEqual(best.bigram - 1e-3);
      }
      weights[bucket] = weight;
    }
  });
});

describe('ngramBaselines', () => {
  it('reaches the entropy of a source that is a bigram process', () => {
    const { tokens, transitions } = markovTokens(24, 220_000, 4);
    const { domains, uniform } = ngramBaselines({
      vocabularySize: 24,
      train: { chain: { tokens: tokens.subarray(0, 200_000) } },
      heldOut: { chain: { tokens: tokens.subarray(200_000) } },
    });
    const heldOut = tokens.subarray(200_000);
    let entropy = 0;
    for (let i = 1; i < heldOut.length; i++) entropy -= Math.log(transitions[heldOut[i - 1]][heldOut[i]]);
    entropy /= heldOut.length - 1;
    expect(domains.chain.bigram).toBeGreaterThan(entropy);
    expect(domains.chain.bigram).toBeLessThan(entropy + 0.005);
    expect(domains.chain.unigram).toBeGreaterThan(domains.chain.bigram + 0.1);
    expect(domains.chain.unigram).toBeLessThan(uniform);
    expect(domains.chain.tokens).toBe(heldOut.length - 1);
  });

  it('scores every token but the first of each document, and forgets at its boundary', () => {
    // After 0 always comes 1 inside a document; across documents it would be 2.
    const tokens = Array.from({ length: 4000 }, (_, i) => [2, 0, 1, 0][i % 4]);
    const documentOffsets = BigInt64Array.from({ length: 1001 }, (_, i) => BigInt(i * 4));
    const { domains } = ngramBaselines({
      vocabularySize: 3,
      train: { a: { tokens, documentOffsets } },
      heldOut: { a: { tokens, documentOffsets } },
    });
    expect(domains.a.tokens).toBe(3000);
    const across = ngramBaselines({ vocabularySize: 3, train: { a: { tokens } }, heldOut: { a: { tokens } } });
    expect(across.domains.a.tokens).toBe(3999);
    expect(domains.a.bigram).toBeLessThan(0.01);
    expect(across.domains.a.bigram).toBeGreaterThan(0.3);
  });

  it("takes the stronger of a domain's own counts and the pooled ones", () => {
    const a = markovTokens(40, 30_000, 5).tokens;
    const b = markovTokens(40, 30_000, 6).tokens;
    const { domains } = ngramBaselines({
      vocabularySize: 40,
      train: { a: { tokens: a.subarray(0, 25_000) }, b: { tokens: b } },
      heldOut: { a: { tokens: a.subarray(25_000) }, unseen: { tokens: b.subarray(0, 1000) } },
    });
    expect(domains.a.own?.bigram).toBeLessThan(domains.a.pooled.bigram);
    expect(domains.a.bigram).toBe(domains.a.own?.bigram);
    expect(domains.unseen.own).toBeUndefined();
    expect(domains.unseen.bigram).toBe(domains.unseen.pooled.bigram);
  });

  it('keeps tokens that training never saw possible', () => {
    const { domains, uniform } = ngramBaselines({
      vocabularySize: 1000,
      train: { a: { tokens: Uint16Array.from({ length: 1000 }, (_, i) => i % 10) } },
      heldOut: { a: { tokens: Uint16Array.from({ length: 100 }, (_, i) => 900 + (i % 50)) } },
    });
    expect(domains.a.bigram).toBeGreaterThan(uniform);
    expect(Number.isFinite(domains.a.bigram)).toBe(true);
  });

  it('refuses tokens outside the vocabulary, offsets outside the stream, and nothing to score', () => {
    const tokens = [1, 2, 3];
    const base = { vocabularySize: 4, train: { a: { tokens } }, heldOut: { a: { tokens } } };
    expect(() => ngramBaselines({ ...base, vocabularySize: 3 })).toThrow('Token 3 at position 2');
    expect(() => ngramBaselines({ ...base, heldOut: { a: { tokens, documentOffsets: [0, 9] } } })).toThrow(
      'from 0 to 9',
    );
    expect(() => ngramBaselines({ ...base, heldOut: { a: { tokens: [1] } } })).toThrow('no document of two tokens');
    expect(() => ngramBaselines({ ...base, tuningShare: 2 })).toThrow('tuningShare');
  });
});
