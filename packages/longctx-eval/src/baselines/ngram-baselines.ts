/**
 * What unigram and bigram statistics of the training tokens alone predict on held-out tokens: the bars that a language model
 * has to clear. Cost: about 16 bytes and 0.3 µs a training token at the peak.
 */

import { z } from 'zod';
import { EvaluationError } from '../errors.js';
import { check, throwIfAborted } from '../validate.js';
import { BigramCounts, type TokenRun } from './bigram-counts.js';
import { InterpolatedNgrams } from './interpolated-ngrams.js';
import type {
  NgramBaseline,
  NgramBaselinesOptions,
  NgramBaselinesResult,
  NgramCrossEntropies,
  TokenStream,
} from './types.js';

const streamSchema = z.strictObject({
  tokens: z.custom<TokenStream['tokens']>(
    (value) =>
      Array.isArray(value) ||
      value instanceof Uint16Array ||
      value instanceof Uint32Array ||
      value instanceof Int32Array,
    'is no Uint16Array, Uint32Array, Int32Array or array',
  ),
  documentOffsets: z
    .custom<ArrayLike<number | bigint>>(
      (value) => typeof (value as ArrayLike<number> | undefined)?.length === 'number',
      'is no array',
    )
    .optional(),
});

const optionsSchema = z.strictObject({
  vocabularySize: z.int().positive(),
  train: z.record(z.string(), streamSchema),
  heldOut: z.record(z.string(), streamSchema),
  tuningShare: z.number().gt(0).lt(0.5).optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

interface SplitRuns {
  counted: TokenRun[];
  tuning: TokenRun[];
}

export function ngramBaselines(options: NgramBaselinesOptions): NgramBaselinesResult {
  check(optionsSchema, options, 'ngramBaselines');
  const { vocabularySize, train, heldOut, tuningShare = 0.05, signal } = options;
  const split = new Map<string, SplitRuns>();
  for (const [name, stream] of Object.entries(train)) split.set(name, splitRuns(runsOf(name, stream), tuningShare));
  const all: SplitRuns = {
    counted: [...split.values()].flatMap((part) => part.counted),
    tuning: [...split.values()].flatMap((part) => part.tuning),
  };
  const pooled = fit(all, vocabularySize);
  const domains: Record<string, NgramBaseline> = {};
  for (const [name, stream] of Object.entries(heldOut)) {
    throwIfAborted(signal, 'ngramBaselines');
    const runs = runsOf(name, stream);
    const mine = split.get(name);
    domains[name] = baseline(name, runs, pooled, mine && fit(mine, vocabularySize));
  }
  let trainTokens = 0;
  for (const { tokens } of Object.values(train)) trainTokens += tokens.length;
  return {
    uniform: Math.log(vocabularySize),
    domains,
    trainTokens,
    settings: { vocabularySize, tuningShare, smoothing: 'Jelinek-Mercer, bucketed by context count' },
  };
}

function fit(runs: SplitRuns, vocabularySize: number): InterpolatedNgrams {
  return new InterpolatedNgrams(BigramCounts.of(runs.counted, vocabularySize), runs.tuning);
}

function baseline(
  name: string,
  runs: readonly TokenRun[],
  pooled: InterpolatedNgrams,
  own: InterpolatedNgrams | undefined,
): NgramBaseline {
  const perToken = (model: InterpolatedNgrams): NgramCrossEntropies & { tokens: number } => {
    const { unigram, bigram, tokens } = model.score(runs);
    if (tokens === 0) {
      throw new EvaluationError('INVALID_DATA', `The held-out stream ${name} has no document of two tokens.`, {
        value: name,
        remedy: 'Leave it out, or give it more tokens.',
      });
    }
    return { unigram: unigram / tokens, bigram: bigram / tokens, tokens };
  };
  const { tokens, ...fromAll } = perToken(pooled);
  if (!own) return { ...fromAll, tokens, pooled: fromAll };
  const { tokens: _, ...fromOwn } = perToken(own);
  return {
    unigram: Math.min(fromAll.unigram, fromOwn.unigram),
    bigram: Math.min(fromAll.bigram, fromOwn.bigram),
    tokens,
    own: fromOwn,
    pooled: fromAll,
  };
}

function runsOf(name: string, { tokens, documentOffsets }: TokenStream): TokenRun[] {
  if (!documentOffsets) return tokens.length === 0 ? [] : [{ tokens, from: 0, to: tokens.length }];
  const runs: TokenRun[] = [];
  for (let i = 0; i + 1 < documentOffsets.length; i++) {
    const from = Number(documentOffsets[i]);
    const to = Number(documentOffsets[i + 1]);
    if (!(from >= 0 && to >= from && to <= tokens.length)) {
      throw new EvaluationError(
        'INVALID_DATA',
        `Document ${i} of stream ${name} runs from ${from} to ${to}, but there are ${tokens.length} tokens.`,
        { value: [from, to], remedy: 'Give offsets in tokens, ascending, the last one the number of tokens.' },
      );
    }
    if (to > from) runs.push({ tokens, from, to });
  }
  return runs;
}

/** Every so-manieth document tunes; a stream of few documents gives the end of each. Depends on the order only. */
function splitRuns(runs: readonly TokenRun[], share: number): SplitRuns {
  const counted: TokenRun[] = [];
  const tuning: TokenRun[] = [];
  const every = Math.round(1 / share);
  if (runs.length >= 4 * every) {
    runs.forEach((run, index) => (index % every === every - 1 ? tuning : counted).push(run));
    return { counted, tuning };
  }
  for (const { tokens, from, to } of runs) {
    const cut = to - Math.floor((to - from) * share);
    counted.push({ tokens, from, to: cut });
    if (to - cut > 1) tuning.push({ tokens, from: cut, to });
    else if (to > cut) counted[counted.length - 1] = { tokens, from, to };
  }
  return { counted, tuning };
}
