/** What a stage, a model and a tokenizer must agree on before anything starts. */
import { type CausalLanguageModel, type Recompute, recomputeModeOfBlocks } from '@xgen-small/model-core';
import type { ChatTokenizer } from '../data/chat-tokenizer.js';
import { PosttrainError } from '../errors.js';

/** Throws PosttrainError INVALID_ARGUMENT or INVALID_STAGE, or ModelError for `recompute`, naming both sides. */
export function checkFit(
  model: CausalLanguageModel,
  tokenizer: ChatTokenizer,
  { contextLength, recompute }: { contextLength?: number; recompute: Recompute },
): void {
  const { vocabularySize, maximumPositions, layers } = model.config;
  recomputeModeOfBlocks(recompute, layers);
  if (tokenizer.vocabularySize > vocabularySize) {
    throw new PosttrainError(
      'INVALID_ARGUMENT',
      `The tokenizer has ${tokenizer.vocabularySize} tokens, the model ${vocabularySize}.`,
      { value: tokenizer.vocabularySize, remedy: 'Use the tokenizer that the model was trained with.' },
    );
  }
  if (contextLength !== undefined && contextLength > maximumPositions) {
    throw new PosttrainError(
      'INVALID_STAGE',
      `contextLength is ${contextLength}, the model's maximumPositions ${maximumPositions}.`,
      { value: contextLength, remedy: 'Lower contextLength, or extend the model first.' },
    );
  }
}

export function checkSeed(seed: number): void {
  if (Number.isSafeInteger(seed) && seed >= 0) return;
  throw new PosttrainError('INVALID_ARGUMENT', `The seed is ${seed}.`, {
    value: seed,
    remedy: 'Pass an integer from 0 to 2^53 − 1.',
  });
}
