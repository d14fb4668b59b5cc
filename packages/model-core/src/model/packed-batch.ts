import { ModelError } from '../errors.js';

/**
 * The one layout of training and evaluation: all tokens of a batch end to end. Attention stays inside each document.
 */
export interface PackedBatch {
  /** [N] */
  tokens: Int32Array;
  /** [N], position inside the document (RoPE). */
  positions: Int32Array;
  /** [documents + 1], first 0, last N, strictly increasing. */
  cumulativeLengths: Int32Array;
}

/** Packs documents end to end; positions count from 0 in each. */
export function packDocuments(documents: readonly ArrayLike<number>[]): PackedBatch {
  if (documents.length === 0) {
    throw new ModelError('INVALID_BATCH', 'packDocuments was given no document.', {
      value: 0,
      remedy: 'Pass at least one.',
    });
  }
  const cumulativeLengths = new Int32Array(documents.length + 1);
  documents.forEach((document, index) => {
    if (document.length === 0) {
      throw new ModelError('INVALID_BATCH', `Document ${index} has no tokens.`, {
        value: index,
        remedy: 'Leave empty documents out.',
      });
    }
    cumulativeLengths[index + 1] = cumulativeLengths[index]! + document.length;
  });
  const total = cumulativeLengths[documents.length]!;
  const tokens = new Int32Array(total);
  const positions = new Int32Array(total);
  documents.forEach((document, index) => {
    const start = cumulativeLengths[index]!;
    for (let i = 0; i < document.length; i++) {
      tokens[start + i] = document[i]!;
      positions[start + i] = i;
    }
  });
  return { tokens, positions, cumulativeLengths };
}
