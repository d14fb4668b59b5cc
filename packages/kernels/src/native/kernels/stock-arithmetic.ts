/**
 * Stock elementwise operations and reductions on float32. What has no fast path here (other dtypes, general broadcasting, other
 * axes) goes to tfjs's own CPU kernel.
 */
import {
  getKernel,
  type KernelFunc,
  type NamedAttrMap,
  type NamedTensorInfoMap,
  type TensorInfo,
  util,
} from '@tensorflow/tfjs-core';
import { sizeBetween } from '../check-infos';
import { defineKernel, type NativeKernel } from '../kernel-definition';
import type { NativeBackend } from '../native-backend';

/** Numbered as in native/include/xgen/kernel_table.h. */
const binaryOperations = ['Add', 'Sub', 'Multiply', 'RealDiv', 'Maximum', 'Minimum', 'SquaredDifference'];
const unaryOperations = ['Exp', 'Neg', 'Square', 'Sqrt', 'Rsqrt', 'Sigmoid', 'Relu', 'Abs'];

const repeatNone = 0;
const repeatScalar = 1;
const repeatRow = 2;

/** Runs tfjs's CPU kernel of that name on this backend. */
export function stock(name: string, inputs: object, attrs: object, backend: NativeBackend): TensorInfo | TensorInfo[] {
  const run: KernelFunc = getKernel(name, 'cpu').kernelFunc;
  return run({ inputs: inputs as NamedTensorInfoMap, attrs: attrs as NamedAttrMap, backend });
}

const isFloat = (...infos: TensorInfo[]): boolean => infos.every(({ dtype }) => dtype === 'float32');

/** How `small` repeats over `large`: as itself, one number, or a row of the last axes; undefined for anything else. */
function repetition(small: readonly number[], large: readonly number[]): number | undefined {
  const size = sizeBetween(small, 0);
  if (size === sizeBetween(large, 0)) return util.arraysEqual([...small], [...large]) ? repeatNone : undefined;
  if (small.length > large.length) return undefined;
  if (size === 1) return repeatScalar;
  const first = small.findIndex((axis) => axis !== 1);
  const tail = small.slice(first);
  return util.arraysEqual(tail, large.slice(large.length - tail.length)) ? repeatRow : undefined;
}

const binaryKernels = binaryOperations.map((name, operation) =>
  defineKernel<{ a: TensorInfo; b: TensorInfo }>(name, ({ a, b }, attributes, backend) => {
    const aIsLarge = sizeBetween(a.shape, 0) >= sizeBetween(b.shape, 0);
    const [large, small] = aIsLarge ? [a, b] : [b, a];
    const repeat = isFloat(a, b) ? repetition(small.shape, large.shape) : undefined;
    if (repeat === undefined) return stock(name, { a, b }, attributes, backend);
    const out = backend.emptyFloats([...large.shape]);
    const row = repeat === repeatRow ? sizeBetween(small.shape, 0) : 1;
    const [repeatA, repeatB] = aIsLarge ? [repeatNone, repeat] : [repeat, repeatNone];
    const [left, right] = [backend.floats(a), backend.floats(b)];
    backend.addon.binary(operation, out.array.length, repeatA, repeatB, row, left, right, out.array);
    return out.info;
  }),
);

/** sum += addend, element by element. */
export function addInto(sum: Float32Array, addend: Float32Array, { addon }: NativeBackend): void {
  addon.binary(binaryOperations.indexOf('Add'), sum.length, repeatNone, repeatNone, 1, sum, addend, sum);
}

const unaryKernels = unaryOperations.map((name, operation) =>
  defineKernel<{ x: TensorInfo }>(name, ({ x }, attributes, backend) => {
    if (!isFloat(x)) return stock(name, { x }, attributes, backend);
    const out = backend.emptyFloats([...x.shape]);
    backend.addon.unary(operation, out.array.length, backend.floats(x), out.array);
    return out.info;
  }),
);

const addN: NativeKernel = {
  name: 'AddN',
  run: ({ inputs, backend: anyBackend }) => {
    const backend = anyBackend as NativeBackend;
    const list = inputs as unknown as TensorInfo[];
    if (!isFloat(...list)) return stock('AddN', inputs, {}, backend);
    const out = backend.emptyFloats([...list[0].shape]);
    const arrays = list.map((info) => backend.floats(info));
    backend.addon.addN(out.array.length, arrays, out.array);
    return out.info;
  },
};

const sum = defineKernel<{ x: TensorInfo }, { axis: number | number[] | null; keepDims?: boolean }>(
  'Sum',
  ({ x }, attributes, backend) => {
    const axes = util.parseAxisParam(attributes.axis as number | number[], x.shape);
    const rank = x.shape.length;
    const isTail = axes.every((axis, index) => axis === rank - axes.length + index);
    const isHead = axes.every((axis, index) => axis === index);
    if (!isFloat(x) || axes.length === 0 || !(isTail || isHead)) return stock('Sum', { x }, attributes, backend);
    const kept = x.shape.filter((_, axis) => !axes.includes(axis));
    const shape = attributes.keepDims ? x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size)) : kept;
    const out = backend.emptyFloats(shape);
    const [keptSize, reduced] = [sizeBetween(kept, 0), axes.reduce((size, axis) => size * x.shape[axis], 1)];
    if (isTail) backend.addon.sumRows(keptSize, reduced, backend.floats(x), out.array);
    else backend.addon.sumColumns(reduced, keptSize, backend.floats(x), out.array);
    return out.info;
  },
);

const softmax = defineKernel<{ logits: TensorInfo }, { dim: number }>('Softmax', ({ logits }, attributes, backend) => {
  const rank = logits.shape.length;
  if (!isFloat(logits) || rank === 0 || attributes.dim !== rank - 1) {
    return stock('Softmax', { logits }, attributes, backend);
  }
  const out = backend.emptyFloats([...logits.shape]);
  const rows = sizeBetween(logits.shape, 0, rank - 1);
  backend.addon.softmax(rows, logits.shape[rank - 1], backend.floats(logits), out.array);
  return out.info;
});

export const stockArithmeticKernels: readonly NativeKernel[] = [...binaryKernels, ...unaryKernels, addN, sum, softmax];
