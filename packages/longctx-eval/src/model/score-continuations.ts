/**
 * log p(continuation | prompt) with a model in this process: prompts and continuations packed into batches of at most 8,192
 * tokens, one forward each. The prompt's tokens and the continuation's are encoded apart, as a benchmark's choices usually are.
 */

import { EvaluationError } from '../errors.js';
import { throwIfAborted } from '../validate.js';
import type { LocalCausalModel } from './options.js';
import type { ContinuationScore } from './types.js';

const batchTokens = 8192;

interface Document {
  tokens: number[];
  /** Where the continuation starts. */
  start: number;
}

export async function scoreContinuations(
  model: LocalCausalModel,
  encodePrompt: (text: string) => number[],
  encodeContinuation: (text: string) => number[],
  pairs: readonly { prompt: string; continuation: string }[],
  { signal }: { signal?: AbortSignal } = {},
): Promise<ContinuationScore[]> {
  const documents = pairs.map(({ prompt, continuation }): Document => {
    const promptTokens = encodePrompt(prompt);
    const continuationTokens = encodeContinuation(continuation);
    const length = promptTokens.length + continuationTokens.length;
    if (promptTokens.length === 0 || continuationTokens.length === 0) {
      throw new EvaluationError('INVALID_OPTIONS', 'A prompt and its continuation need at least one token each.', {
        value: { prompt, continuation },
        remedy: 'An empty prompt can be the beginning-of-text token.',
      });
    }
    if (length > model.config.maximumPositions) {
      throw new EvaluationError(
        'CONTEXT_TOO_SHORT',
        `A prompt and its continuation take ${length} tokens, and the model has ${model.config.maximumPositions} positions.`,
        { value: length, remedy: 'Shorten the prompt.' },
      );
    }
    return { tokens: [...promptTokens, ...continuationTokens], start: promptTokens.length };
  });
  const scores: ContinuationScore[] = [];
  for (let from = 0; from < documents.length;) {
    throwIfAborted(signal, 'Scoring');
    let to = from + 1;
    let total = documents[from].tokens.length;
    while (to < documents.length && total + documents[to].tokens.length <= batchTokens)
      total += documents[to++].tokens.length;
    scores.push(...(await scoreBatch(model, documents.slice(from, to), total)));
    from = to;
  }
  return scores;
}

async function scoreBatch(model: LocalCausalModel, documents: Document[], total: number): Promise<ContinuationScore[]> {
  const tokens = new Int32Array(total);
  const positions = new Int32Array(total);
  const targets = new Int32Array(total).fill(-100);
  const cumulativeLengths = new Int32Array(documents.length + 1);
  documents.forEach((document, which) => {
    const offset = cumulativeLengths[which];
    cumulativeLengths[which + 1] = offset + document.tokens.length;
    document.tokens.forEach((token, i) => {
      tokens[offset + i] = token;
      positions[offset + i] = i;
      if (i >= document.start) targets[offset + i - 1] = token;
    });
  });
  const tensor = model.logProbabilities({ tokens, positions, cumulativeLengths }, targets);
  try {
    const values = await tensor.data();
    return documents.map((document, which) => {
      const offset = cumulativeLengths[which];
      let logProbability = 0;
      for (let i = document.start; i < document.tokens.length; i++) logProbability += values[offset + i - 1];
      return { logProbability, tokens: document.tokens.length - document.start };
    });
  } finally {
    tensor.dispose();
  }
}
