/** Shapes, strides and broadcasting of stock kernels. */
import { broadcast_util, type TensorInfo } from '@tensorflow/tfjs-core';
import { sizeBetween } from '../native/check-infos';
import type { Handle } from './addon';
import type { CudaBackend } from './cuda-backend';
import type { PhysicalType } from './physical-type';

export const repeatNone = 0;
export const repeatScalar = 1;
export const repeatRow = 2;

/** Axes that the addon's copies have at most. */
export const copyAxes = 6;

/** Row-major strides, in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

/** One axis of a copy: how many elements, and how far apart in the source and in the target. */
export interface CopyAxis {
  size: number;
  from: number;
  to: number;
}

/** Joins neighbouring axes that are one run in both arrays, and leaves out those of one element. */
export function simplified(axes: readonly CopyAxis[]): CopyAxis[] {
  const result: CopyAxis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const last = result.at(-1);
    if (last !== undefined && last.from === axis.from * axis.size && last.to === axis.to * axis.size) {
      result[result.length - 1] = { size: last.size * axis.size, from: axis.from, to: axis.to };
    } else {
      result.push(axis);
    }
  }
  return result;
}

/**
 * Copies between two arrays of one type, element by strided element; false where it would take more than `copyAxes` axes, and nothing
 * was copied.
 */
export function copy(
  backend: CudaBackend,
  source: Handle,
  readAt: number,
  target: Handle,
  writeAt: number,
  axes: readonly CopyAxis[],
): boolean {
  if (axes.some(({ size }) => size === 0)) return true;
  const few = simplified(axes);
  if (few.length === 0 || (few.length === 1 && few[0].from === 1 && few[0].to === 1)) {
    backend.addon.copyRange(few.length === 0 ? 1 : few[0].size, source, readAt, target, writeAt);
    return true;
  }
  if (few.length > copyAxes) return false;
  const list = (key: keyof CopyAxis): Int32Array => Int32Array.from(few, (axis) => axis[key]);
  backend.addon.copyStrided(source, readAt, target, writeAt, list('size'), list('from'), list('to'), few.length);
  return true;
}

/** How `small` repeats over `large`: as itself, one number, or a row of the last axes; undefined for anything else. */
export function repetition(small: readonly number[], large: readonly number[]): number | undefined {
  const size = sizeBetween(small, 0);
  const trimmed = small.slice(small.findIndex((axis) => axis !== 1));
  if (size === sizeBetween(large, 0)) return repeatNone;
  if (size === 1) return repeatScalar;
  const tail = large.slice(large.length - trimmed.length);
  return trimmed.length <= large.length && trimmed.every((axis, index) => axis === tail[index]) ? repeatRow : undefined;
}

/** The values of `info` repeated to `shape`, in a temporary array of `type`. */
export function expanded(backend: CudaBackend, info: TensorInfo, shape: readonly number[], type: PhysicalType): Handle {
  const target = backend.temporary(sizeBetween(shape, 0), type);
  const source = backend.arrayAs(info, type);
  copy(backend, source, 0, target, 0, broadcastAxes(info.shape, shape));
  return target;
}

/** The axes of a copy that repeats `from` to the shape `to`. */
export function broadcastAxes(from: readonly number[], to: readonly number[]): CopyAxis[] {
  const missing = to.length - from.length;
  const [fromStrides, toStrides] = [stridesOf(from), stridesOf(to)];
  return to.map((size, axis) => ({
    size,
    from: axis < missing || from[axis - missing] === 1 ? 0 : fromStrides[axis - missing],
    to: toStrides[axis],
  }));
}

export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  return broadcast_util.assertAndGetBroadcastShape([...a], [...b]);
}
