/** Stock reductions and softmax, on float32 (stored in whatever way); sums are float32. Integers go to tfjs's CPU kernels. */
import { type TensorInfo, util } from '@tensorflow/tfjs-core';
import { sizeBetween } from '../../native/check-infos';
import type { CudaBackend } from '../cuda-backend';
import { runOnHost } from '../fallback';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { float32, isFloating } from '../physical-type';
import { copy, copyAxes, repeatNone, repeatScalar, stridesOf } from '../shapes';

/** Numbered as `Reduction` in native/cuda/include/xgen/cuda/operations.h. */
const [sumOf, maximumOf, minimumOf] = [0, 1, 2];
/** Numbered as `BinaryOperation`. */
const [subtract, multiply] = [1, 2];
const logarithm = 8;
const exponential = 0;

interface Reduced {
  info: TensorInfo;
  handle: number;
  /** Elements behind each result. */
  width: number;
}

/** Reduces `axes` of x, which must be float32, into a new float32 tensor. */
function reduce(backend: CudaBackend, operation: number, x: TensorInfo, axes: number[], keepDims: boolean): Reduced {
  const rank = x.shape.length;
  const kept = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const keptShape = kept.map((axis) => x.shape[axis]);
  const shape = keepDims ? x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size)) : keptShape;
  const out = backend.create(shape, float32);
  const width = axes.reduce((size, axis) => size * x.shape[axis], 1);
  const rows = sizeBetween(keptShape, 0);
  const isHead = axes.every((axis, index) => axis === index);
  const isTail = axes.every((axis, index) => axis === rank - axes.length + index);
  if (rows > 0) {
    if (isTail) backend.addon.reduceRows(operation, rows, width, backend.array(x), out.handle);
    else if (isHead) backend.addon.reduceColumns(operation, width, rows, backend.array(x), out.handle);
    else backend.addon.reduceRows(operation, rows, width, movedToEnd(backend, x, kept, axes), out.handle);
  }
  return { ...out, width };
}

/** x with the axes `last` after the others, in a temporary array. */
function movedToEnd(backend: CudaBackend, x: TensorInfo, first: number[], last: number[]): number {
  const type = backend.typeOf(x);
  const order = [...first, ...last];
  const from = stridesOf(x.shape);
  const to = stridesOf(order.map((axis) => x.shape[axis]));
  const moved = backend.temporary(sizeBetween(x.shape, 0), type);
  const axes = order.map((axis, place) => ({ size: x.shape[axis], from: from[axis], to: to[place] }));
  copy(backend, backend.array(x), 0, moved, 0, axes);
  return moved;
}

function axesOf(axis: unknown, x: TensorInfo): number[] {
  return util.parseAxisParam(axis as number | number[], x.shape).sort((a, b) => a - b);
}

const canReduce = (x: TensorInfo, backend: CudaBackend): boolean =>
  x.dtype === 'float32' && isFloating(backend.typeOf(x)) && x.shape.length <= copyAxes;

const reductions = (
  [
    ['Sum', sumOf],
    ['Max', maximumOf],
    ['Min', minimumOf],
    ['Mean', sumOf],
  ] as const
).map(([name, operation]) =>
  defineKernel<
    { x: TensorInfo },
    { axis?: number | number[]; reductionIndices?: number | number[]; keepDims?: boolean }
  >(name, ({ x }, attributes, backend) => {
    if (!canReduce(x, backend)) return runOnHost(name, { x }, attributes, backend);
    const axes = axesOf(attributes.reductionIndices ?? attributes.axis, x);
    const { info, handle, width } = reduce(backend, operation, x, axes, attributes.keepDims ?? false);
    if (name === 'Mean') {
      const factor = backend.temporary(1, float32);
      backend.addon.fill(1, 1 / width, factor);
      const count = sizeBetween(info.shape, 0);
      backend.addon.binary(multiply, count, repeatNone, repeatScalar, 1, handle, factor, handle);
    }
    return info;
  }),
);

const softmax = defineKernel<{ logits: TensorInfo }, { dim: number }>('Softmax', ({ logits }, attributes, backend) => {
  const rank = logits.shape.length;
  if (!canReduce(logits, backend) || rank === 0 || attributes.dim !== rank - 1) {
    return runOnHost('Softmax', { logits }, attributes, backend);
  }
  const out = backend.create(logits.shape, float32);
  const [rows, width] = [sizeBetween(logits.shape, 0, rank - 1), logits.shape[rank - 1]];
  backend.addon.softmax(rows, width, backend.array(logits), out.handle);
  return out.info;
});

/** x − max − ln Σ exp(x − max): from the shifted values, not from the softmax, whose small entries have lost their digits. */
const logSoftmax = defineKernel<{ logits: TensorInfo }, { axis: number }>(
  'LogSoftmax',
  ({ logits }, attributes, backend) => {
    const rank = logits.shape.length;
    const axis = attributes.axis < 0 ? attributes.axis + rank : attributes.axis;
    if (!canReduce(logits, backend) || rank === 0 || axis !== rank - 1) {
      return runOnHost('LogSoftmax', { logits }, attributes, backend);
    }
    const [rows, width] = [sizeBetween(logits.shape, 0, rank - 1), logits.shape[rank - 1]];
    const count = rows * width;
    const out = backend.create(logits.shape, float32);
    if (count === 0) return out.info;
    const [perRow, spread, exponentials] = [rows, count, count].map((size) => backend.temporary(size, float32));
    const subtractPerRow = (from: number): void => {
      const axes = [
        { size: rows, from: 1, to: width },
        { size: width, from: 0, to: 1 },
      ];
      copy(backend, perRow, 0, spread, 0, axes);
      backend.addon.binary(subtract, count, repeatNone, repeatNone, 1, from, spread, out.handle);
    };
    backend.addon.reduceRows(maximumOf, rows, width, backend.array(logits), perRow);
    subtractPerRow(backend.array(logits));
    backend.addon.unary(exponential, count, out.handle, exponentials);
    backend.addon.reduceRows(sumOf, rows, width, exponentials, perRow);
    backend.addon.unary(logarithm, rows, perRow, perRow);
    subtractPerRow(out.handle);
    return out.info;
  },
);

export const stockReductionKernels: readonly CudaKernel[] = [...reductions, softmax, logSoftmax];
