/**
 * Causal attention over packed documents with grouped query heads (Ainslie et al. 2023, arXiv 2305.13245).
 *
 * Fused: one pass in the manner of FlashAttention (Dao 2023, arXiv 2307.08691); nothing of size N×N is held. Composed: document by
 * document, in blocks of query rows that are computed again in the backward pass, so that the scores of one block are the most
 * that is ever held.
 */
import {
  add,
  concat,
  mul,
  type Rank,
  registerGradient,
  reshape,
  scalar,
  slice,
  softmax,
  type Tensor,
  tensor2d,
  type Tensor2D,
  tidy,
  transpose,
} from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { XgAttention, XgAttentionGrad, type XgAttentionAttrs } from '../kernel-names';
import { checkpointed } from '../tape/checkpointed';
import { acceptMissingGradients } from '../tape/missing-gradients';
import { checkInteger, checkNumber, checkTensors } from './check-tensors';
import { checkCumulativeLengths } from './check-values';
import { readValues } from './host-memory';
import { matrixProduct } from './matrix-product';
import { hasKernel, runKernel } from './run-kernel';

/** How a row of qkv is laid out: query heads, then key heads, then value heads, each of `headDimension`. */
export interface AttentionShape {
  queryHeads: number;
  /** Divides queryHeads. */
  keyValueHeads: number;
  headDimension: number;
  /** Factor on the scores; default 1/√headDimension. */
  scale?: number;
}

/** Scores of a composed query block never exceed so many elements. */
const largestScoreBlock = 1 << 24;
const masked = -1e30;

// Nothing but the gradient uses the log-sum-exp.
acceptMissingGradients(XgAttention);
registerGradient({
  kernelName: XgAttention,
  inputsToSave: ['qkv', 'cumulativeLengths'],
  outputsToSave: [true, true],
  gradFunc: (dys, saved, attributes) => {
    const [qkv, cumulativeLengths, out, logSumExp] = saved as [Tensor, Tensor, Tensor, Tensor];
    const dy = (dys as Tensor[])[0];
    return {
      qkv: () => runKernel(XgAttentionGrad, { qkv, cumulativeLengths, out, logSumExp, dy }, attributes)[0],
    };
  },
});

/**
 * softmax(scale · q·kᵀ)·v for each query head, over the tokens of its own document up to itself.
 *
 * qkv float32 [N,(Hq+2Hkv)·hd], cumulativeLengths int32 [documents+1] (0 … N) → float32 [N,Hq·hd]. Query head h reads key/value
 * head ⌊h·Hkv/Hq⌋. Differentiable with respect to qkv.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION, BROKEN_CUMULATIVE_LENGTHS
 */
export function groupedQueryAttention(qkv: Tensor, cumulativeLengths: Tensor, shape: AttentionShape): Tensor2D {
  const attributes = checkAttentionShape('groupedQueryAttention', shape);
  const { N } = checkTensors('groupedQueryAttention', {
    qkv: [qkv, 'float32', ['N', qkvWidth(attributes)]],
    cumulativeLengths: [cumulativeLengths, 'int32', ['documents+1']],
  });
  checkCumulativeLengths('groupedQueryAttention', 'cumulativeLengths', cumulativeLengths, N);
  if (hasKernel(XgAttention)) {
    return runKernel(XgAttention, { qkv, cumulativeLengths }, attributes)[0] as Tensor2D;
  }
  return composedAttention(qkv as Tensor2D, readValues(cumulativeLengths), attributes);
}

/** Validates the head counts and fills in the scale. */
export function checkAttentionShape(operation: string, shape: AttentionShape): XgAttentionAttrs {
  const { queryHeads, keyValueHeads, headDimension } = shape;
  checkInteger(operation, 'queryHeads', queryHeads, 1);
  checkInteger(operation, 'keyValueHeads', keyValueHeads, 1);
  checkInteger(operation, 'headDimension', headDimension, 1);
  if (queryHeads % keyValueHeads !== 0) {
    throw new KernelsError(
      'WRONG_OPTION',
      `${operation}: keyValueHeads must divide queryHeads, but they are ${keyValueHeads} and ${queryHeads}.`,
      { value: keyValueHeads },
    );
  }
  const scale = shape.scale ?? 1 / Math.sqrt(headDimension);
  checkNumber(operation, 'scale', scale);
  return { queryHeads, keyValueHeads, headDimension, scale };
}

/** Elements of a packed qkv row. */
export function qkvWidth({ queryHeads, keyValueHeads, headDimension }: XgAttentionAttrs): number {
  return (queryHeads + 2 * keyValueHeads) * headDimension;
}

function composedAttention(qkv: Tensor2D, lengths: ArrayLike<number>, shape: XgAttentionAttrs): Tensor2D {
  return tidy(() => {
    const outputs: Tensor2D[] = [];
    for (let document = 0; document + 1 < lengths.length; document++) {
      const start = lengths[document];
      const length = lengths[document + 1] - start;
      if (length === 0) continue;
      const rows = slice(qkv, [start, 0], [length, qkv.shape[1]]);
      const blockRows = Math.max(1, Math.floor(largestScoreBlock / (length * shape.queryHeads)));
      if (blockRows >= length) {
        outputs.push(attendRows(rows, 0, length, shape));
        continue;
      }
      for (let first = 0; first < length; first += blockRows) {
        const count = Math.min(blockRows, length - first);
        const visible = slice(rows, [0, 0], [first + count, qkv.shape[1]]);
        outputs.push(checkpointed(() => attendRows(visible, first, count, shape)));
      }
    }
    if (outputs.length === 0) return slice(qkv, [0, 0], [0, shape.queryHeads * shape.headDimension]);
    return outputs.length === 1 ? outputs[0] : concat(outputs, 0);
  });
}

/** Attention of rows first … first+count−1 of one document over its rows 0 … first+count−1. */
function attendRows(rows: Tensor2D, first: number, count: number, shape: XgAttentionAttrs): Tensor2D {
  const { queryHeads, keyValueHeads, headDimension, scale } = shape;
  const total = rows.shape[0];
  const group = queryHeads / keyValueHeads;
  const queryWidth = queryHeads * headDimension;
  const keyWidth = keyValueHeads * headDimension;
  const queries = slice(rows, [first, 0], [count, queryWidth]);
  // [rows, heads·hd] → [Hkv, rows·…, hd]: the query heads of a group share their key head.
  const q = reshape(transpose(reshape(queries, [count, keyValueHeads, group, headDimension]), [1, 2, 0, 3]), [
    keyValueHeads,
    group * count,
    headDimension,
  ]);
  const headsFirst = (begin: number): Tensor =>
    transpose(reshape(slice(rows, [0, begin], [total, keyWidth]), [total, keyValueHeads, headDimension]), [1, 0, 2]);
  const k = headsFirst(queryWidth);
  const v = headsFirst(queryWidth + keyWidth);
  const scores = reshape(mul(matrixProduct(q, k, false, true), scalar(scale)), [keyValueHeads, group, count, total]);
  const weights = softmax(add(scores, causalMask(first, count, total)), -1);
  const mixed = matrixProduct(reshape(weights, [keyValueHeads, group * count, total]), v);
  const tokensFirst = transpose(reshape(mixed, [keyValueHeads, group, count, headDimension]), [2, 0, 1, 3]);
  return reshape<Rank.R2>(tokensFirst, [count, queryWidth]);
}

/** [count, total]: 0 where key ≤ first + query, else a score so low that its weight is exactly 0. */
export function causalMask(first: number, count: number, total: number): Tensor2D {
  const values = new Float32Array(count * total);
  for (let query = 0; query < count; query++) {
    values.fill(masked, query * total + first + query + 1, (query + 1) * total);
  }
  return tensor2d(values, [count, total]);
}
