/** The one layout of training and evaluation: all tokens of a batch end to end; attention stays in each document. */
import type { ModelConfig } from '../config/model-config.js';
import { ModelError } from '../errors.js';

export interface PackedBatch {
  /** [N] */
  tokens: Int32Array;
  /** [N], position inside the document (RoPE). */
  positions: Int32Array;
  /** [documents + 1], first 0, last N, rising. */
  cumulativeLengths: Int32Array;
}

function invalid(message: string, value: unknown, remedy: string): ModelError {
  return new ModelError('INVALID_BATCH', message, { value, remedy });
}

/** Packs documents end to end; positions count from 0 in each. Empty documents are refused. */
export function packDocuments(documents: readonly ArrayLike<number>[]): PackedBatch {
  if (documents.length === 0) throw invalid('packDocuments was given no document.', 0, 'Pass at least one.');
  const cumulativeLengths = new Int32Array(documents.length + 1);
  documents.forEach((document, index) => {
    if (document.length === 0) throw invalid(`Document ${index} has no tokens.`, index, 'Leave empty documents out.');
    cumulativeLengths[index + 1] = cumulativeLengths[index] + document.length;
  });
  const total = cumulativeLengths[documents.length];
  const tokens = new Int32Array(total);
  const positions = new Int32Array(total);
  documents.forEach((document, index) => {
    const start = cumulativeLengths[index];
    for (let i = 0; i < document.length; i++) {
      if (!Number.isInteger(document[i])) {
        throw invalid(`Token ${i} of document ${index} is ${document[i]}.`, document[i], 'Tokens are integers.');
      }
      tokens[start + i] = document[i]!;
      positions[start + i] = i;
    }
  });
  return { tokens, positions, cumulativeLengths };
}

/** Positions a model accepts: its context, or under dynamic scaling that times the factor. */
export function positionLimit({ rope, maximumPositions }: ModelConfig): number {
  return rope.scaling?.type === 'dynamic' ? Math.floor(rope.scaling.factor * maximumPositions) : maximumPositions;
}

/** Checks a batch against a model in one pass. @returns the largest position plus one */
export function checkBatch(batch: PackedBatch, config: ModelConfig): number {
  const { tokens, positions, cumulativeLengths } = batch;
  for (const [name, array] of Object.entries({ tokens, positions, cumulativeLengths })) {
    if (!(array instanceof Int32Array)) {
      throw invalid(`The batch's ${name} is not an Int32Array.`, array, 'See PackedBatch, or use packDocuments.');
    }
  }
  const count = tokens.length;
  if (count === 0 || positions.length !== count) {
    throw invalid(
      `The batch has ${count} tokens and ${positions.length} positions.`,
      positions.length,
      'There must be at least one token and a position for each.',
    );
  }
  const documents = cumulativeLengths.length - 1;
  if (documents < 1 || cumulativeLengths[0] !== 0 || cumulativeLengths[documents] !== count) {
    throw invalid(
      `cumulativeLengths runs from ${cumulativeLengths[0]} to ${cumulativeLengths[documents]} over ${count} tokens.`,
      Array.from(cumulativeLengths.subarray(0, 16)),
      'It starts with 0 and ends with the number of tokens.',
    );
  }
  for (let i = 1; i <= documents; i++) {
    if (cumulativeLengths[i] <= cumulativeLengths[i - 1]) {
      throw invalid(
        `cumulativeLengths[${i}] is ${cumulativeLengths[i]} after ${cumulativeLengths[i - 1]}.`,
        cumulativeLengths[i],
        'Every document has at least one token.',
      );
    }
  }
  const limit = positionLimit(config);
  let last = 0;
  for (let i = 0; i < count; i++) {
    const token = tokens[i];
    const position = positions[i];
    if (token < 0 || token >= config.vocabularySize) {
      throw invalid(
        `Token ${i} of the batch is ${token}; the vocabulary has ${config.vocabularySize}.`,
        token,
        'Do the tokenizer and the model belong together?',
      );
    }
    if (position < 0 || position >= limit) {
      throw invalid(
        `Position ${i} of the batch is ${position}; the model takes 0 … ${limit - 1}.`,
        position,
        'Cut the document, or use model.withRope(rope, maximumPositions) for a longer context.',
      );
    }
    if (position > last) last = position;
  }
  return last + 1;
}
