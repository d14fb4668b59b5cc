/**
 * Stock elementwise operations on the device. Floating operands are computed in float32; the result of two bfloat16 arrays is bfloat16
 * again, of mixed ones float32. Integers go to tfjs's CPU kernels, which are exact beyond 2^24.
 */
import { type TensorInfo, upcastType, util } from '@tensorflow/tfjs-core';
import { sizeBetween } from '../../native/check-infos';
import type { CudaBackend } from '../cuda-backend';
import { runOnHost } from '../fallback';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { bfloat16, exactType, float32, type FloatingType, int32, isFloating, uint8 } from '../physical-type';
import { broadcastShape, copyAxes, expanded, repeatNone, repeatRow, repetition } from '../shapes';

/** Numbered as `BinaryOperation` in native/cuda/include/xgen/cuda/operations.h. */
const arithmetic = ['Add', 'Sub', 'Multiply', 'RealDiv', 'Maximum', 'Minimum', 'SquaredDifference', 'Pow'];
const comparisons = ['Greater', 'GreaterEqual', 'Less', 'LessEqual', 'Equal', 'NotEqual'];
const logical = ['LogicalAnd', 'LogicalOr'];
const binaryOperations = [...arithmetic, ...comparisons, ...logical];
const [maximum, minimum] = [4, 5];

/** Numbered as `UnaryOperation` there. */
const unaryOperations = [
  ...['Exp', 'Neg', 'Square', 'Sqrt', 'Rsqrt', 'Sigmoid', 'Relu', 'Abs', 'Log', 'Tanh', 'Reciprocal', 'Step', 'Sign'],
  ...['Floor', 'Ceil', 'Expm1', 'Log1p', 'Softplus', 'Sin', 'Cos', 'LogicalNot', 'IsNan'],
];

/** Runs a numbered binary operation with broadcasting, into a new tensor. */
function binary(
  backend: CudaBackend,
  operation: number,
  a: TensorInfo,
  b: TensorInfo,
  out: { info: TensorInfo; handle: number },
): TensorInfo {
  const shape = out.info.shape;
  const count = sizeBetween(shape, 0);
  if (count === 0) return out.info;
  const operands = [a, b].map((info) => {
    const repeat = repetition(info.shape, shape);
    // Neither whole nor a scalar nor a row: spread it out first.
    if (repeat === undefined) {
      return { handle: expanded(backend, info, shape, backend.typeOf(info)), repeat: repeatNone, row: 1 };
    }
    return {
      handle: backend.array(info),
      repeat,
      row: repeat === repeatRow ? sizeBetween(info.shape, 0) : 1,
    };
  });
  // One length of row serves both: where two rows differ, the shorter is spread out.
  if (operands.every(({ repeat }) => repeat === repeatRow) && operands[0].row !== operands[1].row) {
    const short = operands[0].row < operands[1].row ? 0 : 1;
    const info = [a, b][short];
    operands[short] = { handle: expanded(backend, info, shape, backend.typeOf(info)), repeat: repeatNone, row: 1 };
  }
  const [left, right] = operands;
  const row = Math.max(left.row, right.row);
  backend.addon.binary(operation, count, left.repeat, right.repeat, row, left.handle, right.handle, out.handle);
  return out.info;
}

function commonType(backend: CudaBackend, ...infos: TensorInfo[]): FloatingType {
  return infos.every((info) => backend.typeOf(info) === bfloat16) ? bfloat16 : float32;
}

const binaryKernels = binaryOperations.map((name, operation) =>
  defineKernel<{ a: TensorInfo; b: TensorInfo }>(name, ({ a, b }, attributes, backend) => {
    const floating = a.dtype === 'float32' || b.dtype === 'float32';
    const booleans = a.dtype === 'bool' && b.dtype === 'bool';
    const isArithmetic = arithmetic.includes(name);
    const shape = broadcastShape(a.shape, b.shape);
    const known = logical.includes(name) ? booleans : floating || (booleans && !isArithmetic);
    if (!known || shape.length > copyAxes || upcastType(a.dtype, b.dtype) === 'complex64') {
      return runOnHost(name, { a, b }, attributes, backend);
    }
    const out = isArithmetic ? backend.create(shape, commonType(backend, a, b)) : backend.create(shape, uint8, 'bool');
    return binary(backend, operation, a, b, out);
  }),
);

const unaryKernels = unaryOperations.map((name, operation) =>
  defineKernel<{ x: TensorInfo }, { alpha?: number }>(name, ({ x }, attributes, backend) => {
    const gives = name === 'LogicalNot' || name === 'IsNan' ? 'bool' : 'float32';
    const takes = name === 'LogicalNot' ? 'bool' : 'float32';
    if (x.dtype !== takes || (attributes.alpha ?? 0) !== 0) return runOnHost(name, { x }, attributes, backend);
    const out = backend.create(x.shape, gives === 'bool' ? uint8 : backend.typeOf(x), gives);
    backend.addon.unary(operation, sizeBetween(x.shape, 0), backend.array(x), out.handle);
    return out.info;
  }),
);

const addN = defineKernel<TensorInfo[]>('AddN', (inputs, attributes, backend) => {
  const list = Object.values(inputs);
  if (!list.every(({ dtype, shape }) => dtype === 'float32' && util.arraysEqual(shape, list[0].shape))) {
    return runOnHost('AddN', inputs, attributes, backend);
  }
  const type = commonType(backend, ...list);
  const out = backend.create(list[0].shape, type);
  const handles = Int32Array.from(list, (info) => backend.arrayAs(info, type));
  backend.addon.addN(sizeBetween(out.info.shape, 0), handles.length, handles, out.handle);
  return out.info;
});

const select = defineKernel<{ condition: TensorInfo; t: TensorInfo; e: TensorInfo }>(
  'Select',
  (inputs, attributes, backend) => {
    const { condition, t, e } = inputs;
    const alike = t.dtype === e.dtype && util.arraysEqual(t.shape, e.shape) && condition.dtype === 'bool';
    if (!alike || !util.arraysEqual(condition.shape, t.shape)) return runOnHost('Select', inputs, attributes, backend);
    const type = t.dtype === 'float32' ? commonType(backend, t, e) : exactType(t.dtype);
    const out = backend.create(t.shape, type, t.dtype);
    const [yes, no] = [backend.arrayAs(t, type), backend.arrayAs(e, type)];
    backend.addon.select(sizeBetween(t.shape, 0), backend.array(condition), yes, no, out.handle);
    return out.info;
  },
);

const clipByValue = defineKernel<{ x: TensorInfo }, { clipValueMin: number; clipValueMax: number }>(
  'ClipByValue',
  ({ x }, attributes, backend) => {
    if (x.dtype !== 'float32') return runOnHost('ClipByValue', { x }, attributes, backend);
    const count = sizeBetween(x.shape, 0);
    const out = backend.create(x.shape, backend.typeOf(x));
    const limits = [attributes.clipValueMin, attributes.clipValueMax].map((value) => {
      const limit = backend.temporary(1, float32);
      backend.addon.fill(1, value, limit);
      return limit;
    });
    backend.addon.binary(maximum, count, repeatNone, 1, 1, backend.array(x), limits[0], out.handle);
    backend.addon.binary(minimum, count, repeatNone, 1, 1, out.handle, limits[1], out.handle);
    return out.info;
  },
);

const cast = defineKernel<{ x: TensorInfo }, { dtype: TensorInfo['dtype'] }>('Cast', ({ x }, attributes, backend) => {
  const { dtype } = attributes;
  if (dtype === x.dtype) return backend.share(x, x.shape);
  const known = [x.dtype, dtype].every((one) => one === 'float32' || one === 'int32' || one === 'bool');
  if (!known) return runOnHost('Cast', { x }, attributes, backend);
  const out = backend.create(x.shape, exactType(dtype), dtype);
  backend.addon.convertTo(sizeBetween(x.shape, 0), backend.array(x), out.handle);
  return out.info;
});

const fill = defineKernel<object, { shape: number[]; value: number | string; dtype?: TensorInfo['dtype'] }>(
  'Fill',
  (inputs, attributes, backend) => {
    const { shape, value } = attributes;
    const dtype = attributes.dtype ?? util.inferDtype(value);
    if (typeof value !== 'number' || (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool')) {
      return runOnHost('Fill', inputs, attributes, backend);
    }
    const out = backend.create(shape, exactType(dtype), dtype);
    backend.addon.fill(sizeBetween(shape, 0), value, out.handle);
    return out.info;
  },
);

const constants = (['ZerosLike', 'OnesLike'] as const).map((name, value) =>
  defineKernel<{ x: TensorInfo }>(name, ({ x }, attributes, backend) => {
    if (x.dtype !== 'float32' && x.dtype !== 'int32' && x.dtype !== 'bool') {
      return runOnHost(name, { x }, attributes, backend);
    }
    const type = backend.typeOf(x);
    const out = backend.create(x.shape, isFloating(type) ? type : x.dtype === 'int32' ? int32 : uint8, x.dtype);
    backend.addon.fill(sizeBetween(x.shape, 0), value, out.handle);
    return out.info;
  }),
);

export const stockArithmeticKernels: readonly CudaKernel[] = [
  ...binaryKernels,
  ...unaryKernels,
  addN,
  select,
  clipByValue,
  cast,
  fill,
  ...constants,
];
