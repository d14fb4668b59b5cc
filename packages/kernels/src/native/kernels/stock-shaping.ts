/** Stock matrix products and the operations that move data, on float32; everything else goes to tfjs's own CPU kernels. */
import { broadcast_util, type TensorInfo, util } from '@tensorflow/tfjs-core';
import { sizeBetween } from '../check-infos';
import { defineKernel, type NativeKernel } from '../kernel-definition';
import type { NativeBackend } from '../native-backend';
import { stock } from './stock-arithmetic';

type MatMulInputs = { a: TensorInfo; b: TensorInfo };
type MatMulAttributes = { transposeA: boolean; transposeB: boolean };

/** The product where both are float32 and their batch axes are equal or one has none; otherwise undefined. */
function matrixProduct(
  { a, b }: MatMulInputs,
  { transposeA, transposeB }: MatMulAttributes,
  backend: NativeBackend,
): TensorInfo | undefined {
  if (a.dtype !== 'float32' || b.dtype !== 'float32') return undefined;
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const [sizeA, sizeB] = [sizeBetween(batchA, 0), sizeBetween(batchB, 0)];
  if (!util.arraysEqual(batchA, batchB) && sizeA !== 1 && sizeB !== 1) return undefined;
  const [rowsA, columnsA] = a.shape.slice(-2);
  const [rowsB, columnsB] = b.shape.slice(-2);
  const [m, k] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const [inner, n] = transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
  if (k !== inner) return undefined;
  const batchShape = broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
  const batch = Math.max(sizeA, sizeB);
  const out = backend.emptyFloats([...batchShape, m, n]);
  backend.addon.batchMatMul(
    batch,
    sizeA === 1,
    sizeB === 1,
    m,
    n,
    k,
    transposeA,
    transposeB,
    backend.matmulPrecision === 'bfloat16',
    backend.floats(a),
    backend.floats(b),
    out.array,
  );
  return out.info;
}

const batchMatMul = defineKernel<MatMulInputs, MatMulAttributes>(
  'BatchMatMul',
  (inputs, attributes, backend) =>
    matrixProduct(inputs, attributes, backend) ?? stock('BatchMatMul', inputs, attributes, backend),
);

const fusedMatMul = defineKernel<
  MatMulInputs & { bias?: TensorInfo; preluActivationWeights?: TensorInfo },
  MatMulAttributes & { activation?: string }
>('_FusedMatMul', (inputs, attributes, backend) => {
  const plain = inputs.bias === undefined && (attributes.activation ?? 'linear') === 'linear';
  return (
    (plain ? matrixProduct(inputs, attributes, backend) : undefined) ??
    stock('_FusedMatMul', inputs, attributes, backend)
  );
});

const transpose = defineKernel<{ x: TensorInfo }, { perm: number[] }>('Transpose', ({ x }, attributes, backend) => {
  const { perm } = attributes;
  if (x.dtype !== 'float32' || x.shape.length !== 2 || perm[0] !== 1) {
    return stock('Transpose', { x }, attributes, backend);
  }
  const [rows, columns] = x.shape;
  const out = backend.emptyFloats([columns, rows]);
  backend.addon.transpose(rows, columns, backend.floats(x), out.array);
  return out.info;
});

/** Pieces that are whole rows of the first axis are copied one after the other. */
const concat: NativeKernel = {
  name: 'Concat',
  run: ({ inputs, attrs, backend: anyBackend }) => {
    const backend = anyBackend as NativeBackend;
    const list = Object.values(inputs as Record<string, TensorInfo>);
    const axis = util.parseAxisParam((attrs as { axis: number }).axis, list[0].shape)[0];
    if (axis !== 0 || list.some(({ dtype }) => dtype !== 'float32'))
      return stock('Concat', inputs, attrs ?? {}, backend);
    const tail = list[0].shape.slice(1);
    if (list.some(({ shape }) => !util.arraysEqual(shape.slice(1), tail)))
      return stock('Concat', inputs, attrs ?? {}, backend);
    const out = backend.emptyFloats([list.reduce((rows, { shape }) => rows + shape[0], 0), ...tail]);
    let offset = 0;
    for (const info of list) {
      const values = backend.floats(info);
      out.array.set(values, offset);
      offset += values.length;
    }
    return out.info;
  },
};

/** A range of the first axis is one copy. */
const slice = defineKernel<{ x: TensorInfo }, { begin: number[]; size: number[] }>(
  'Slice',
  ({ x }, attributes, backend) => {
    const { begin, size } = attributes;
    const wholeRows =
      x.dtype === 'float32' &&
      x.shape.length > 0 &&
      begin.length === x.shape.length &&
      x.shape.every((axis, index) => index === 0 || (begin[index] === 0 && size[index] === axis)) &&
      begin[0] >= 0 &&
      size[0] >= 0 &&
      begin[0] + size[0] <= x.shape[0];
    if (!wholeRows) return stock('Slice', { x }, attributes, backend);
    const row = sizeBetween(x.shape, 1);
    const out = backend.emptyFloats([...size]);
    out.array.set(backend.floats(x).subarray(begin[0] * row, (begin[0] + size[0]) * row));
    return out.info;
  },
);

const gather = defineKernel<{ x: TensorInfo; indices: TensorInfo }, { axis: number; batchDims?: number }>(
  'GatherV2',
  ({ x, indices }, attributes, backend) => {
    const { axis, batchDims = 0 } = attributes;
    if (axis !== 0 || batchDims !== 0 || x.dtype !== 'float32' || indices.dtype !== 'int32' || x.shape.length === 0) {
      return stock('GatherV2', { x, indices }, attributes, backend);
    }
    const [count, row] = [sizeBetween(indices.shape, 0), sizeBetween(x.shape, 1)];
    const out = backend.emptyFloats([...indices.shape, ...x.shape.slice(1)]);
    backend.addon.embedding(count, row, x.shape[0], backend.floats(x), backend.integers(indices), out.array);
    return out.info;
  },
);

/** The stock kernel walks all segments for each row of the input. */
const unsortedSegmentSum = defineKernel<{ x: TensorInfo; segmentIds: TensorInfo }, { numSegments: number }>(
  'UnsortedSegmentSum',
  ({ x, segmentIds }, attributes, backend) => {
    const { numSegments } = attributes;
    const count = sizeBetween(segmentIds.shape, 0);
    const ids = segmentIds.dtype === 'int32' ? backend.integers(segmentIds) : undefined;
    // Ids outside the range are dropped by the stock kernel; ours would refuse them.
    if (x.dtype !== 'float32' || ids === undefined || !ids.every((id) => id >= 0 && id < numSegments)) {
      return stock('UnsortedSegmentSum', { x, segmentIds }, attributes, backend);
    }
    const row = sizeBetween(x.shape, segmentIds.shape.length);
    const out = backend.emptyFloats([numSegments, ...x.shape.slice(segmentIds.shape.length)]);
    backend.addon.embeddingGrad(count, row, numSegments, ids, backend.floats(x), out.array);
    return out.info;
  },
);

export const stockShapingKernels: readonly NativeKernel[] = [
  batchMatMul,
  fusedMatMul,
  transpose,
  concat,
  slice,
  gather,
  unsortedSegmentSum,
];
