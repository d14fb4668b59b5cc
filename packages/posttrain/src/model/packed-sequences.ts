/**
 * Token sequences with marked targets, packed end to end for the decoder. Only the rows that predict a target go
 * through the output head: prompts cost a forward pass of the trunk and no logits.
 */
import { packDocuments, type PackedBatch } from '@xgen-small/model-core';

export interface TargetSequence {
  /** [T] */
  tokens: Int32Array;
  /** [T]; 1 where the token is a target. The first token can't be one: nothing comes before it. */
  targetMask: Uint8Array;
}

export interface PackedSequences {
  batch: PackedBatch;
  /** [R] places in the batch whose next token is a target. */
  rows: Int32Array;
  /** [R] */
  targets: Int32Array;
  /** [sequences + 1]; sequence i owns rows offsets[i] … offsets[i + 1]. */
  offsets: Int32Array;
}

export function countTargets({ targetMask }: TargetSequence): number {
  let count = 0;
  for (let i = 1; i < targetMask.length; i++) count += targetMask[i];
  return count;
}

export function packSequences(sequences: readonly TargetSequence[]): PackedSequences {
  const offsets = new Int32Array(sequences.length + 1);
  sequences.forEach((sequence, i) => (offsets[i + 1] = offsets[i] + countTargets(sequence)));
  const rows = new Int32Array(offsets[sequences.length]);
  const targets = new Int32Array(rows.length);
  let start = 0;
  let row = 0;
  for (const { tokens, targetMask } of sequences) {
    for (let i = 1; i < tokens.length; i++) {
      if (targetMask[i] === 0) continue;
      rows[row] = start + i - 1;
      targets[row++] = tokens[i]!;
    }
    start += tokens.length;
  }
  return { batch: packDocuments(sequences.map(({ tokens }) => tokens)), rows, targets, offsets };
}

/** Splits items, in order, into groups of at most `limit` in sum; an item over the limit makes a group alone. */
export function groupByTokens<T>(items: readonly T[], tokensOf: (item: T) => number, limit: number): T[][] {
  const groups: T[][] = [];
  let sum = Infinity;
  for (const item of items) {
    const tokens = tokensOf(item);
    if (sum + tokens > limit) {
      groups.push([]);
      sum = 0;
    }
    groups[groups.length - 1].push(item);
    sum += tokens;
  }
  return groups;
}
