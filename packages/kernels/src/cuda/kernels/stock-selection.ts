/** Stock running sums, largest entries and one-hot rows. What they don't cover goes to tfjs's CPU kernels. */
import type { DataType, TensorInfo } from '@tensorflow/tfjs-core';
import { sizeBetween } from '../../native/check-infos';
import type { CudaBackend } from '../cuda-backend';
import { runOnHost } from '../fallback';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { exactType, float32, int32, isFloating } from '../physical-type';

/** Above it, finding the largest entries one after the other costs more than copying the rows to the host. */
const mostEntries = 256;

const cumsum = defineKernel<{ x: TensorInfo }, { axis: number; exclusive: boolean; reverse: boolean }>(
  'Cumsum',
  ({ x }, attributes, backend) => {
    const axis = attributes.axis < 0 ? attributes.axis + x.shape.length : attributes.axis;
    if (x.shape.length === 0 || (x.dtype !== 'float32' && x.dtype !== 'int32')) {
      return runOnHost('Cumsum', { x }, attributes, backend);
    }
    const out = backend.create(x.shape, exactType(x.dtype), x.dtype);
    const [outer, inner] = [sizeBetween(x.shape, 0, axis), sizeBetween(x.shape, axis + 1)];
    backend.addon.cumulativeSum(
      outer,
      x.shape[axis],
      inner,
      attributes.exclusive,
      attributes.reverse,
      backend.arrayAs(x, exactType(x.dtype)),
      out.handle,
    );
    return out.info;
  },
);

/** Rows of float32 along the last axis; undefined where the device has no kernel. */
function rowsOf(x: TensorInfo, k: number, backend: CudaBackend): { rows: number; width: number } | undefined {
  const rank = x.shape.length;
  if (rank === 0 || x.dtype !== 'float32' || !isFloating(backend.typeOf(x)) || k > mostEntries) return undefined;
  const width = x.shape[rank - 1];
  return width === 0 || k > width ? undefined : { rows: sizeBetween(x.shape, 0, rank - 1), width };
}

const topK = defineKernel<{ x: TensorInfo }, { k: number; sorted: boolean }>('TopK', ({ x }, attributes, backend) => {
  const { k } = attributes;
  const size = rowsOf(x, k, backend);
  if (size === undefined) return runOnHost('TopK', { x }, attributes, backend);
  const shape = [...x.shape.slice(0, -1), k];
  const values = backend.create(shape, float32);
  const indices = backend.create(shape, int32, 'int32');
  backend.addon.topK(size.rows, size.width, k, backend.array(x), values.handle, indices.handle);
  return [values.info, indices.info];
});

const argMax = defineKernel<{ x: TensorInfo }, { axis: number }>('ArgMax', ({ x }, attributes, backend) => {
  const axis = attributes.axis < 0 ? attributes.axis + x.shape.length : attributes.axis;
  const size = axis === x.shape.length - 1 ? rowsOf(x, 1, backend) : undefined;
  if (size === undefined) return runOnHost('ArgMax', { x }, attributes, backend);
  const out = backend.create(x.shape.slice(0, -1), int32, 'int32');
  backend.addon.topK(size.rows, size.width, 1, backend.array(x), 0, out.handle);
  return out.info;
});

const oneHot = defineKernel<
  { indices: TensorInfo },
  { depth: number; onValue: number; offValue: number; dtype?: DataType }
>('OneHot', ({ indices }, attributes, backend) => {
  const { depth, onValue, offValue, dtype = 'int32' } = attributes;
  if (indices.dtype !== 'int32' || dtype === 'string' || dtype === 'complex64') {
    return runOnHost('OneHot', { indices }, attributes, backend);
  }
  const out = backend.create([...indices.shape, depth], exactType(dtype), dtype);
  const count = sizeBetween(indices.shape, 0);
  backend.addon.oneHot(count, depth, onValue, offValue, backend.arrayAs(indices, int32), out.handle);
  return out.info;
});

export const stockSelectionKernels: readonly CudaKernel[] = [cumsum, topK, argMax, oneHot];
