/**
 * Attention of new tokens over paged caches (Kwon et al. 2023, arXiv 2309.06180): the decode and prefill step of serving.
 *
 * Cost: reads each sequence's cached keys and values once. Composed: sequence by sequence; its cached rows are gathered first.
 */
import {
  add,
  concat,
  gather,
  mul,
  type Rank,
  reshape,
  scalar,
  slice,
  softmax,
  type Tensor,
  tensor1d,
  tensor2d,
  type Tensor2D,
  tidy,
  transpose,
} from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { XgPagedAttention, type XgPagedAttentionAttrs } from '../kernel-names';
import { checkInteger, checkTensors } from './check-tensors';
import { checkCumulativeLengths } from './check-values';
import { type AttentionShape, causalMask, checkAttentionShape, qkvWidth } from './grouped-query-attention';
import { isHostBackend, readValues } from './host-memory';
import { matrixProduct } from './matrix-product';
import { refuseRecording } from './paged-cache';
import { hasKernel, runKernel } from './run-kernel';

/** Which rows of the caches belong to which sequence. */
export interface PagedSequences {
  /** int32 [B+1]: where each sequence's new tokens start in qkv. */
  cumulativeQueryLengths: Tensor;
  /** int32 [B]: tokens of each sequence, the new ones included. */
  contextLengths: Tensor;
  /** int32 [B, maxBlocks]: block p of sequence b holds positions p·blockSize …; entries past its blocks are not read. */
  blockTables: Tensor;
}

/**
 * softmax(scale · q·kᵀ)·v of N new tokens of B sequences over all that is cached of their own sequence, up to themselves. Their own
 * keys and values were appended before.
 *
 * qkv float32 [N,(Hq+2Hkv)·hd] (only the query heads are read), caches float32 [blocks·blockSize, Hkv·hd] → float32 [N,Hq·hd].
 * Query i of sequence b sits at position contextLength − queryLength + i. Inference only.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION, BROKEN_CUMULATIVE_LENGTHS, OUT_OF_RANGE (a context shorter than its
 * new tokens, longer than its block table, or a block outside the cache), NO_GRADIENT (inside a differentiated function)
 */
export function pagedAttention(
  qkv: Tensor,
  keyCache: Tensor,
  valueCache: Tensor,
  { cumulativeQueryLengths, contextLengths, blockTables }: PagedSequences,
  shape: AttentionShape & { blockSize: number },
): Tensor2D {
  const attributes = { ...checkAttentionShape('pagedAttention', shape), blockSize: shape.blockSize };
  checkInteger('pagedAttention', 'blockSize', shape.blockSize, 1);
  refuseRecording('pagedAttention');
  const width = attributes.keyValueHeads * attributes.headDimension;
  const { N, B, rows } = checkTensors('pagedAttention', {
    qkv: [qkv, 'float32', ['N', qkvWidth(attributes)]],
    keyCache: [keyCache, 'float32', ['rows', width]],
    valueCache: [valueCache, 'float32', ['rows', width]],
    contextLengths: [contextLengths, 'int32', ['B']],
    blockTables: [blockTables, 'int32', ['B', 'maxBlocks']],
    cumulativeQueryLengths: [cumulativeQueryLengths, 'int32', ['B+1']],
  });
  if (cumulativeQueryLengths.shape[0] !== B + 1) {
    throw new KernelsError(
      'WRONG_SHAPE',
      `pagedAttention: cumulativeQueryLengths must have ${B + 1} entries for ${B} sequences, but has ${cumulativeQueryLengths.shape[0]}.`,
      { value: cumulativeQueryLengths.shape[0] },
    );
  }
  checkCumulativeLengths('pagedAttention', 'cumulativeQueryLengths', cumulativeQueryLengths, N);
  const sequences = { cumulativeQueryLengths, contextLengths, blockTables };
  checkTables('pagedAttention', sequences, rows, shape.blockSize);
  if (hasKernel(XgPagedAttention)) {
    return runKernel(XgPagedAttention, { qkv, keyCache, valueCache, ...sequences }, attributes)[0] as Tensor2D;
  }
  return composedPagedAttention(qkv as Tensor2D, keyCache as Tensor2D, valueCache as Tensor2D, sequences, attributes);
}

/** Throws where a context has no room for its new tokens or a table names a block outside the cache; values are read as in `checkIdRange`. */
export function checkTables(
  operation: string,
  { cumulativeQueryLengths, contextLengths, blockTables }: PagedSequences,
  rows: number,
  blockSize: number,
): void {
  if (!isHostBackend()) return;
  const queryEnds = readValues(cumulativeQueryLengths);
  const contexts = readValues(contextLengths);
  const tables = readValues(blockTables);
  const maximumBlocks = blockTables.shape[1]!;
  const blocks = Math.floor(rows / blockSize);
  for (let sequence = 0; sequence < contexts.length; sequence++) {
    const context = contexts[sequence];
    const queries = queryEnds[sequence + 1] - queryEnds[sequence];
    if (context < queries || context > maximumBlocks * blockSize) {
      throw new KernelsError(
        'OUT_OF_RANGE',
        `${operation}: contextLengths[${sequence}] is ${context}, but the sequence has ${queries} new tokens and room for ` +
          `${maximumBlocks} blocks of ${blockSize}.`,
        { value: context },
      );
    }
    for (let block = 0; block * blockSize < context; block++) {
      const index = tables[sequence * maximumBlocks + block];
      if (index < 0 || index >= blocks) {
        throw new KernelsError(
          'OUT_OF_RANGE',
          `${operation}: blockTables[${sequence}, ${block}] is ${index}, outside the ${blocks} blocks of the cache.`,
          { value: index },
        );
      }
    }
  }
}

function composedPagedAttention(
  qkv: Tensor2D,
  keyCache: Tensor2D,
  valueCache: Tensor2D,
  sequences: PagedSequences,
  shape: XgPagedAttentionAttrs,
): Tensor2D {
  const queryEnds = readValues(sequences.cumulativeQueryLengths);
  const contexts = readValues(sequences.contextLengths);
  const tables = readValues(sequences.blockTables);
  const maximumBlocks = sequences.blockTables.shape[1]!;
  const { queryHeads, headDimension, blockSize } = shape;
  return tidy(() => {
    const outputs: Tensor2D[] = [];
    for (let sequence = 0; sequence < contexts.length; sequence++) {
      const start = queryEnds[sequence];
      const count = queryEnds[sequence + 1] - start;
      if (count === 0) continue;
      const rows = Int32Array.from(
        { length: contexts[sequence] },
        (_, position) =>
          tables[sequence * maximumBlocks + Math.floor(position / blockSize)] * blockSize + (position % blockSize),
      );
      const queries = slice(qkv, [start, 0], [count, queryHeads * headDimension]);
      outputs.push(
        attendCached(
          queries,
          gather(keyCache, tensor1d(rows, 'int32')),
          gather(valueCache, tensor1d(rows, 'int32')),
          shape,
        ),
      );
    }
    if (outputs.length === 0) return tensor2d([], [0, queryHeads * headDimension]);
    return outputs.length === 1 ? outputs[0] : concat(outputs, 0);
  });
}

/** Queries [count, Hq·hd], the last of a context whose keys and values are [total, Hkv·hd]. */
function attendCached(queries: Tensor2D, keys: Tensor2D, values: Tensor2D, shape: XgPagedAttentionAttrs): Tensor2D {
  const { queryHeads, keyValueHeads, headDimension, scale } = shape;
  const [count] = queries.shape;
  const [total] = keys.shape;
  const group = queryHeads / keyValueHeads;
  const q = reshape(transpose(reshape(queries, [count, keyValueHeads, group, headDimension]), [1, 2, 0, 3]), [
    keyValueHeads,
    group * count,
    headDimension,
  ]);
  const headsFirst = (rows: Tensor2D): Tensor =>
    transpose(reshape(rows, [total, keyValueHeads, headDimension]), [1, 0, 2]);
  const scores = reshape(mul(matrixProduct(q, headsFirst(keys), false, true), scalar(scale)), [
    keyValueHeads,
    group,
    count,
    total,
  ]);
  const weights = softmax(add(scores, causalMask(total - count, count, total)), -1);
  const mixed = matrixProduct(reshape(weights, [keyValueHeads, group * count, total]), headsFirst(values));
  const tokensFirst = transpose(reshape(mixed, [keyValueHeads, group, count, headDimension]), [2, 0, 1, 3]);
  return reshape<Rank.R2>(tokensFirst, [count, queryHeads * headDimension]);
}
