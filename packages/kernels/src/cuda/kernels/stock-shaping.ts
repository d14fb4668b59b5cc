/** Stock matrix products and the operations that move data. Data are moved as they are stored. */
import { backend_util, slice_util, type TensorInfo, util } from '@tensorflow/tfjs-core';
import { sizeBetween } from '../../native/check-infos';
import type { CudaBackend } from '../cuda-backend';
import { runOnHost } from '../fallback';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { float32, int32, isFloating, type PhysicalType } from '../physical-type';
import { broadcastAxes, broadcastShape, copy, copyAxes, stridesOf } from '../shapes';

type MatMulInputs = { a: TensorInfo; b: TensorInfo };
type MatMulAttributes = { transposeA: boolean; transposeB: boolean };

/** The product where both are float32 and their batch axes are equal or one has none; otherwise undefined. Always float32. */
function matrixProduct(
  { a, b }: MatMulInputs,
  { transposeA, transposeB }: MatMulAttributes,
  backend: CudaBackend,
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
  const batchShape = broadcastShape(batchA, batchB);
  const batch = sizeBetween(batchShape, 0);
  const out = backend.create([...batchShape, m, n], float32);
  const type = backend.activationType;
  backend.addon.matMul(
    batch,
    sizeA === 1 && batch > 1,
    sizeB === 1 && batch > 1,
    m,
    n,
    k,
    transposeA,
    transposeB,
    backend.arrayAs(a, type),
    backend.arrayAs(b, type),
    out.handle,
  );
  return out.info;
}

const batchMatMul = defineKernel<MatMulInputs, MatMulAttributes>(
  'BatchMatMul',
  (inputs, attributes, backend) =>
    matrixProduct(inputs, attributes, backend) ?? runOnHost('BatchMatMul', inputs, attributes, backend),
);

const fusedMatMul = defineKernel<
  MatMulInputs & { bias?: TensorInfo; preluActivationWeights?: TensorInfo },
  MatMulAttributes & { activation?: string }
>('_FusedMatMul', (inputs, attributes, backend) => {
  const plain = inputs.bias === undefined && (attributes.activation ?? 'linear') === 'linear';
  return (
    (plain ? matrixProduct(inputs, attributes, backend) : undefined) ??
    runOnHost('_FusedMatMul', inputs, attributes, backend)
  );
});

const identity = defineKernel<{ x: TensorInfo }>('Identity', ({ x }, _, backend) => backend.share(x, x.shape));

const reshape = defineKernel<{ x: TensorInfo }, { shape: number[] }>('Reshape', ({ x }, { shape }, backend) => {
  const size = sizeBetween(x.shape, 0);
  return backend.share(x, util.inferFromImplicitShape(shape, size));
});

const expandDims = defineKernel<{ input: TensorInfo }, { dim: number }>('ExpandDims', ({ input }, { dim }, backend) => {
  const shape = [...input.shape];
  shape.splice(dim < 0 ? shape.length + dim + 1 : dim, 0, 1);
  return backend.share(input, shape);
});

/** True where the tensor lives on the device and its copies have few enough axes. */
const movable = (...infos: TensorInfo[]): boolean =>
  infos.every(({ dtype, shape }) => shape.length <= copyAxes && dtype !== 'string' && dtype !== 'complex64');

const transpose = defineKernel<{ x: TensorInfo }, { perm: number[] }>('Transpose', ({ x }, attributes, backend) => {
  const { perm } = attributes;
  if (!movable(x)) return runOnHost('Transpose', { x }, attributes, backend);
  const shape = perm.map((axis) => x.shape[axis]);
  const out = backend.create(shape, backend.typeOf(x), x.dtype);
  if (shape.length === 2 && perm[0] === 1) {
    backend.addon.transpose(x.shape[0], x.shape[1], backend.array(x), out.handle);
    return out.info;
  }
  const [from, to] = [stridesOf(x.shape), stridesOf(shape)];
  const axes = perm.map((axis, place) => ({ size: x.shape[axis], from: from[axis], to: to[place] }));
  copy(backend, backend.array(x), 0, out.handle, 0, axes);
  return out.info;
});

/** The type that all of them have, or float32 where some are stored in bfloat16 and some not. */
function sharedType(backend: CudaBackend, infos: readonly TensorInfo[]): PhysicalType {
  const types = infos.map((info) => backend.typeOf(info));
  return types.every((type) => type === types[0]) ? types[0] : float32;
}

const concat = defineKernel<TensorInfo[], { axis: number }>('Concat', (inputs, attributes, backend) => {
  const list = Object.values(inputs);
  const { dtype } = list[0];
  const axis = util.parseAxisParam(attributes.axis, list[0].shape)[0];
  if (!movable(...list) || list.some((info) => info.dtype !== dtype)) {
    return runOnHost('Concat', inputs, attributes, backend);
  }
  const type = sharedType(backend, list);
  const shape = backend_util.computeOutShape(
    list.map((info) => [...info.shape]),
    axis,
  );
  const out = backend.create(shape, type, dtype);
  const before = sizeBetween(shape, 0, axis);
  const width = sizeBetween(shape, axis);
  let offset = 0;
  for (const info of list) {
    const piece = sizeBetween(info.shape, axis);
    const axes = [
      { size: before, from: piece, to: width },
      { size: piece, from: 1, to: 1 },
    ];
    copy(backend, backend.arrayAs(info, type), 0, out.handle, offset, axes);
    offset += piece;
  }
  return out.info;
});

/** The box of x that begins at `begin`, in a new tensor. */
function sliced(backend: CudaBackend, x: TensorInfo, begin: readonly number[], size: readonly number[]): TensorInfo {
  const out = backend.create(size, backend.typeOf(x), x.dtype);
  const [from, to] = [stridesOf(x.shape), stridesOf(size)];
  const axes = size.map((count, axis) => ({ size: count, from: from[axis], to: to[axis] }));
  const first = begin.reduce((sum, start, axis) => sum + start * from[axis], 0);
  copy(backend, backend.array(x), first, out.handle, 0, axes);
  return out.info;
}

const slice = defineKernel<{ x: TensorInfo }, { begin: number[]; size: number[] }>(
  'Slice',
  ({ x }, attributes, backend) => {
    if (!movable(x)) return runOnHost('Slice', { x }, attributes, backend);
    const [begin, size] = slice_util.parseSliceParams(x, attributes.begin, attributes.size);
    slice_util.assertParamsValid(x, begin, size);
    return sliced(backend, x, begin, size);
  },
);

const splitV = defineKernel<{ x: TensorInfo }, { numOrSizeSplits: number[] | number; axis: number }>(
  'SplitV',
  ({ x }, attributes, backend) => {
    if (!movable(x)) return runOnHost('SplitV', { x }, attributes, backend);
    const axis = util.parseAxisParam(attributes.axis, x.shape)[0];
    const sizes = backend_util.prepareSplitSize(x, attributes.numOrSizeSplits, axis);
    let first = 0;
    return sizes.map((count) => {
      const begin = x.shape.map((_, i) => (i === axis ? first : 0));
      const size = x.shape.map((whole, i) => (i === axis ? count : whole));
      first += count;
      return sliced(backend, x, begin, size);
    });
  },
);

const unpack = defineKernel<{ value: TensorInfo }, { axis: number }>('Unpack', ({ value }, attributes, backend) => {
  if (!movable(value)) return runOnHost('Unpack', { value }, attributes, backend);
  const rank = value.shape.length;
  const axis = attributes.axis < 0 ? attributes.axis + rank : attributes.axis;
  const shape = value.shape.filter((_, i) => i !== axis);
  return Array.from({ length: value.shape[axis] }, (_, index) => {
    const begin = value.shape.map((_unused, i) => (i === axis ? index : 0));
    const size = value.shape.map((whole, i) => (i === axis ? 1 : whole));
    return { ...sliced(backend, value, begin, size), shape };
  });
});

const pack = defineKernel<TensorInfo[], { axis: number }>('Pack', (inputs, attributes, backend) => {
  const list = Object.values(inputs);
  const { dtype, shape } = list[0];
  const alike = list.every((info) => info.dtype === dtype && util.arraysEqual(info.shape, shape));
  if (!movable(...list) || !alike) return runOnHost('Pack', inputs, attributes, backend);
  const axis = attributes.axis < 0 ? attributes.axis + shape.length + 1 : attributes.axis;
  const type = sharedType(backend, list);
  const out = backend.create([...shape.slice(0, axis), list.length, ...shape.slice(axis)], type, dtype);
  const [before, piece] = [sizeBetween(shape, 0, axis), sizeBetween(shape, axis)];
  list.forEach((info, index) => {
    const axes = [
      { size: before, from: piece, to: piece * list.length },
      { size: piece, from: 1, to: 1 },
    ];
    copy(backend, backend.arrayAs(info, type), 0, out.handle, index * piece, axes);
  });
  return out.info;
});

const padV2 = defineKernel<{ x: TensorInfo }, { paddings: [number, number][]; constantValue: number }>(
  'PadV2',
  ({ x }, attributes, backend) => {
    if (!movable(x)) return runOnHost('PadV2', { x }, attributes, backend);
    const { paddings, constantValue } = attributes;
    const shape = x.shape.map((size, axis) => size + paddings[axis][0] + paddings[axis][1]);
    const out = backend.create(shape, backend.typeOf(x), x.dtype);
    backend.addon.fill(sizeBetween(shape, 0), constantValue, out.handle);
    const [from, to] = [stridesOf(x.shape), stridesOf(shape)];
    const axes = x.shape.map((size, axis) => ({ size, from: from[axis], to: to[axis] }));
    const first = paddings.reduce((sum, [before], axis) => sum + before * to[axis], 0);
    copy(backend, backend.array(x), 0, out.handle, first, axes);
    return out.info;
  },
);

const tile = defineKernel<{ x: TensorInfo }, { reps: number[] }>('Tile', ({ x }, attributes, backend) => {
  const { reps } = attributes;
  const repeated = reps.filter((times) => times !== 1).length;
  if (!movable(x) || x.shape.length + repeated > copyAxes) return runOnHost('Tile', { x }, attributes, backend);
  const shape = x.shape.map((size, axis) => size * reps[axis]);
  const out = backend.create(shape, backend.typeOf(x), x.dtype);
  const [from, to] = [stridesOf(x.shape), stridesOf(shape)];
  const axes = x.shape.flatMap((size, axis) => [
    { size: reps[axis], from: 0, to: to[axis] * size },
    { size, from: from[axis], to: to[axis] },
  ]);
  copy(backend, backend.array(x), 0, out.handle, 0, axes);
  return out.info;
});

const broadcastTo = defineKernel<{ x: TensorInfo }, { shape: number[] }>(
  'BroadcastTo',
  ({ x }, attributes, backend) => {
    const { shape } = attributes;
    if (!movable(x) || shape.length > copyAxes) return runOnHost('BroadcastTo', { x }, attributes, backend);
    const out = backend.create(shape, backend.typeOf(x), x.dtype);
    copy(backend, backend.array(x), 0, out.handle, 0, broadcastAxes(x.shape, shape));
    return out.info;
  },
);

const reverse = defineKernel<{ x: TensorInfo }, { dims: number[] }>('Reverse', ({ x }, attributes, backend) => {
  if (!movable(x)) return runOnHost('Reverse', { x }, attributes, backend);
  const turned = util.parseAxisParam(attributes.dims, x.shape);
  const out = backend.create(x.shape, backend.typeOf(x), x.dtype);
  if (sizeBetween(x.shape, 0) === 0) return out.info;
  const strides = stridesOf(x.shape);
  const axes = x.shape.map((size, axis) => ({
    size,
    from: turned.includes(axis) ? -strides[axis] : strides[axis],
    to: strides[axis],
  }));
  const first = turned.reduce((sum, axis) => sum + (x.shape[axis] - 1) * strides[axis], 0);
  copy(backend, backend.array(x), first, out.handle, 0, axes);
  return out.info;
});

const gather = defineKernel<{ x: TensorInfo; indices: TensorInfo }, { axis: number; batchDims?: number }>(
  'GatherV2',
  ({ x, indices }, attributes, backend) => {
    const { axis, batchDims = 0 } = attributes;
    const rows = axis === 0 && batchDims === 0 && x.dtype === 'float32' && indices.dtype === 'int32';
    if (!rows || x.shape.length === 0 || !isFloating(backend.typeOf(x))) {
      return runOnHost('GatherV2', { x, indices }, attributes, backend);
    }
    const [count, row] = [sizeBetween(indices.shape, 0), sizeBetween(x.shape, 1)];
    const out = backend.create([...indices.shape, ...x.shape.slice(1)], backend.typeOf(x));
    const [table, ids] = [backend.array(x), backend.arrayAs(indices, int32)];
    backend.addon.embedding(count, row, x.shape[0], table, ids, out.handle);
    return out.info;
  },
);

const unsortedSegmentSum = defineKernel<{ x: TensorInfo; segmentIds: TensorInfo }, { numSegments: number }>(
  'UnsortedSegmentSum',
  ({ x, segmentIds }, attributes, backend) => {
    const { numSegments } = attributes;
    if (x.dtype !== 'float32' || segmentIds.dtype !== 'int32' || !isFloating(backend.typeOf(x))) {
      return runOnHost('UnsortedSegmentSum', { x, segmentIds }, attributes, backend);
    }
    const row = sizeBetween(x.shape, segmentIds.shape.length);
    const out = backend.create([numSegments, ...x.shape.slice(segmentIds.shape.length)], float32);
    const [ids, rows] = [backend.arrayAs(segmentIds, int32), backend.array(x)];
    backend.addon.embeddingGrad(sizeBetween(segmentIds.shape, 0), row, numSegments, ids, rows, out.handle);
    return out.info;
  },
);

export const stockShapingKernels: readonly CudaKernel[] = [
  batchMatMul,
  fusedMatMul,
  identity,
  reshape,
  expandDims,
  transpose,
  concat,
  slice,
  splitV,
  unpack,
  pack,
  padV2,
  tile,
  broadcastTo,
  reverse,
  gather,
  unsortedSegmentSum,
];
