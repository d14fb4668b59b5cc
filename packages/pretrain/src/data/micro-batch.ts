/** From pieces of documents to the arrays a forward and backward pass takes; one read a piece, one copy a token. */
import type { PackedBatch } from '@xgen-small/model-core';
import { PretrainError } from '../errors';
import type { TokenDocumentSource } from './document-source';
import type { Piece } from './domain-pieces';

export interface MicroBatch {
  batch: PackedBatch;
  /** [N] the token after each; −100 where it carries no loss. */
  targets: Int32Array;
  /** Targets that carry loss. */
  targetCount: number;
  /** [pieces] domain of each packed piece, in the order of `batch.cumulativeLengths`. */
  pieceDomains: Int32Array;
}

/** Target that carries no loss, as in PyTorch. */
export const ignoredTarget = -100;

export interface AssembleOptions {
  /** Input before a document's first token; without one a document's first token is no target. */
  beginToken?: number;
  useLossMask: boolean;
  vocabularySize: number;
}

export async function assembleMicroBatch(
  source: TokenDocumentSource,
  pieces: readonly (Piece & { domain: number })[],
  { beginToken, useLossMask, vocabularySize }: AssembleOptions,
): Promise<MicroBatch> {
  const total = pieces.reduce((sum, { length }) => sum + length, 0);
  const tokens = new Int32Array(total);
  const targets = new Int32Array(total);
  const positions = new Int32Array(total);
  const cumulativeLengths = new Int32Array(pieces.length + 1);
  let offset = 0;
  let targetCount = 0;
  // Inputs [start, start + length) of the sequence [begin token,] document; targets are one further.
  const shift = beginToken === undefined ? 0 : 1;
  for (const [index, { document, start, length }] of pieces.entries()) {
    const first = Math.max(0, start - shift);
    const targetsFrom = start + 1 - shift;
    const read = await source.readTokens(document, first, targetsFrom + length);
    checkRead(read, document, targetsFrom + length - first, vocabularySize);
    const lead = shift === 1 && start === 0 ? 1 : 0;
    if (lead === 1) tokens[offset] = beginToken!;
    tokens.set(read.subarray(0, length - lead), offset + lead);
    targets.set(read.subarray(targetsFrom - first, targetsFrom - first + length), offset);
    for (let i = 0; i < length; i++) positions[offset + i] = i;
    targetCount += useLossMask
      ? await applyLossMask(source, document, targetsFrom, targets.subarray(offset, offset + length))
      : length;
    offset += length;
    cumulativeLengths[index + 1] = offset;
  }
  const pieceDomains = Int32Array.from(pieces, ({ domain }) => domain);
  return { batch: { tokens, positions, cumulativeLengths }, targets, targetCount, pieceDomains };
}

async function applyLossMask(
  source: TokenDocumentSource,
  document: number,
  start: number,
  targets: Int32Array,
): Promise<number> {
  const mask = await source.readLossMask?.(document, start, start + targets.length);
  if (mask === undefined || mask.length !== targets.length) {
    throw new PretrainError(
      'INVALID_DATA',
      `lossOn is markedTokens, but document ${document} has no loss mask for its tokens.`,
      {
        value: document,
        remedy: 'Use lossOn: allTokens or a source with a loss mask for every document.',
      },
    );
  }
  let kept = 0;
  for (let i = 0; i < targets.length; i++) {
    if (mask[i] === 0) targets[i] = ignoredTarget;
    else kept++;
  }
  return kept;
}

function checkRead(read: ArrayLike<number>, document: number, expected: number, vocabularySize: number): void {
  if (read.length !== expected) {
    throw new PretrainError('INVALID_DATA', `Document ${document} gave ${read.length} tokens instead of ${expected}.`, {
      value: document,
      remedy: 'The source contradicts its own documentLength; rebuild the shards.',
    });
  }
  for (let i = 0; i < read.length; i++) {
    if (!(read[i] >= 0 && read[i] < vocabularySize)) {
      throw new PretrainError('INVALID_DATA', `Document ${document} contains the token id ${read[i]}.`, {
        value: read[i],
        remedy: `Ids must be from 0 to ${vocabularySize - 1}; tokenise with the model's tokenizer.`,
      });
    }
  }
}
