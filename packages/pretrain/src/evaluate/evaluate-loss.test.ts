import * as tf from '@tensorflow/tfjs-core';
import { packDocuments, type CausalLanguageModel } from '@xgen-small/model-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countingDocuments } from '../../test/synthetic-documents';
import { tinyModel } from '../../test/tiny-model';
import { memoryDocumentSource } from '../data/memory-source';
import { evaluateLoss, type EvaluateLossOptions } from './evaluate-loss';

const documents = countingDocuments({ documents: 9 });
const data = memoryDocumentSource(documents, { vocabularySize: 32 });
let model: CausalLanguageModel;
beforeAll(async () => void (model = await tinyModel()));
afterAll(() => model.dispose());

/** Sum of −log p of one document's tokens from its logits, in float64, its own context only. */
function negativeLogLikelihood(tokens: readonly number[], contextLength: number): number {
  let sum = 0;
  const sequence = [0, ...tokens]; // the begin token first
  for (let start = 0; start < tokens.length; start += contextLength) {
    const inputs = sequence.slice(start, Math.min(start + contextLength, tokens.length));
    tf.tidy(() => {
      const logits = model.logits(model.hiddenStates(packDocuments([inputs]))).arraySync();
      logits.forEach((row, i) => {
        const largest = Math.max(...row);
        const logSum = largest + Math.log(row.reduce((total, value) => total + Math.exp(value - largest), 0));
        sum += logSum - row[sequence[start + i + 1]];
      });
    });
  }
  return sum;
}

describe('evaluateLoss', () => {
  it.each([
    [16, 64],
    [64, 64],
    [64, 4096],
  ])('sums −log p over every token by domain: context %d, batches of %d', async (contextLength, microBatchTokens) => {
    const before = tf.memory().numTensors;
    const { overall, domains } = await evaluateLoss({ model, data, contextLength, microBatchTokens });
    expect(tf.memory().numTensors).toBe(before);
    for (const domain of ['even', 'odd']) {
      const own = documents.filter((document) => document.domain === domain).map(({ tokens }) => Array.from(tokens));
      const expected = own.reduce((sum, tokens) => sum + negativeLogLikelihood(tokens, contextLength), 0);
      const found = domains[domain];
      expect(found.documents).toBe(own.length);
      expect(found.tokens).toBe(own.reduce((sum, tokens) => sum + tokens.length, 0));
      expect(found.negativeLogLikelihood).toBeCloseTo(expected, 2);
      expect(found.loss).toBe(found.negativeLogLikelihood / found.tokens);
      expect(found.perplexity).toBe(Math.exp(found.loss));
      expect(found.bitsPerByte).toBeUndefined();
    }
    expect(overall.tokens).toBe(domains.even.tokens + domains.odd.tokens);
    expect(overall.negativeLogLikelihood).toBeCloseTo(
      domains.even.negativeLogLikelihood + domains.odd.negativeLogLikelihood,
      9,
    );
  });

  it('gives bits per byte of the text that was predicted', async () => {
    const tokenByteLengths = Uint8Array.from({ length: 32 }, (_, id) => id % 5);
    const { domains } = await evaluateLoss({ model, data, contextLength: 64, tokenByteLengths, domains: ['odd'] });
    expect(Object.keys(domains)).toEqual(['odd']);
    const bytes = documents
      .filter(({ domain }) => domain === 'odd')
      .flatMap(({ tokens }) => Array.from(tokens))
      .reduce((sum, id) => sum + (id % 5), 0);
    expect(domains.odd.bytes).toBe(bytes);
    expect(domains.odd.bitsPerByte).toBeCloseTo(domains.odd.negativeLogLikelihood / Math.log(2) / bytes, 12);
  });

  it('stops at the token limit of each domain', async () => {
    const { domains } = await evaluateLoss({ model, data, contextLength: 16, maximumTokensPerDomain: 50 });
    expect([domains.even.tokens, domains.odd.tokens]).toEqual([50, 50]);
  });

  it('predicts from the second token on without a begin token', async () => {
    const { domains } = await evaluateLoss({
      model,
      data,
      contextLength: 64,
      prependBeginToken: false,
      domains: ['even'],
    });
    const own = documents.filter(({ domain }) => domain === 'even');
    expect(domains.even.tokens).toBe(own.reduce((sum, { tokens }) => sum + tokens.length - 1, 0));
  });

  it.each([
    [{ contextLength: 0 }, 'INVALID_ARGUMENT'],
    [{ contextLength: 65 }, 'CONTEXT_TOO_LONG'],
    [{ microBatchTokens: 8 }, 'INVALID_ARGUMENT'],
    [{ maximumTokensPerDomain: 0 }, 'INVALID_ARGUMENT'],
    [{ tokenByteLengths: [1, 2] }, 'INVALID_ARGUMENT'],
    [{ domains: ['prose'] }, 'UNKNOWN_DOMAIN'],
    [{ minimumDocumentTokens: 1000 }, 'EMPTY_DOMAIN'],
    [{ signal: AbortSignal.abort() }, 'ABORTED'],
    [{ data: memoryDocumentSource(documents, { vocabularySize: 33 }) }, 'VOCABULARY_MISMATCH'],
  ] as [Partial<EvaluateLossOptions>, string][])('refuses %j', async (change, code) => {
    await expect(evaluateLoss({ model, data, contextLength: 16, ...change })).rejects.toMatchObject({ code });
  });
});
