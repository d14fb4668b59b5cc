import { tensor1d, zeros, variable, tensor, type Tensor, type Variable } from '@tensorflow/tfjs-core';
import { integers, normal } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgPagedCacheAppend } from '../kernel-names';
import { createPagedCache, pagedCacheAppend, type PagedCacheShape } from './paged-cache';

function appendCase(slots: number[], blocks: number, shape: PagedCacheShape): OperationCase<PagedCacheShape> {
  const { queryHeads, keyValueHeads, headDimension, blockSize } = shape;
  const cache = [blocks * blockSize, keyValueHeads * headDimension];
  return {
    name: `slots ${slots.slice(0, 8).join(', ')}${slots.length > 8 ? ', …' : ''} of ${cache[0]}, ${queryHeads}/${keyValueHeads} heads of ${headDimension}`,
    inputs: {
      keyCache: normal(cache, 1),
      valueCache: normal(cache, 2),
      qkv: normal([slots.length, (queryHeads + 2 * keyValueHeads) * headDimension], 3),
      slots: integers([slots.length], slots),
    },
    attributes: shape,
  };
}

const owned = (source: Tensor): Variable => variable(tensor(source.dataSync().slice(), source.shape, 'float32'), false);
const shape: PagedCacheShape = { queryHeads: 2, keyValueHeads: 1, headDimension: 4, blockSize: 4 };

export const pagedCacheAppendOperation = declareOperation<PagedCacheShape>({
  operation: 'pagedCacheAppend',
  kernels: [XgPagedCacheAppend],
  differentiable: [],
  usesMatmulPrecision: false,
  changesInPlace: true,
  tolerance: 0,
  cases: [
    appendCase([0], 1, { ...shape, headDimension: 1, blockSize: 1 }),
    appendCase([5, 0, 11, 3], 3, shape),
    appendCase([31, 2, 30, 9, 8], 2, { queryHeads: 8, keyValueHeads: 4, headDimension: 33, blockSize: 16 }),
    appendCase([], 2, shape),
  ],
  benchmark: () =>
    appendCase(
      Array.from({ length: 256 }, (_, i) => (i * 37) % 4096),
      256,
      { queryHeads: 8, keyValueHeads: 4, headDimension: 32, blockSize: 16 },
    ),
  run: (inputs, attributes) => {
    const [keys, values] = [owned(inputs.keyCache), owned(inputs.valueCache)];
    pagedCacheAppend(keys, values, inputs.qkv, inputs.slots, attributes);
    return [keys, values];
  },
  reference: ({ keyCache, valueCache, qkv, slots }, { queryHeads, keyValueHeads, headDimension }) => {
    const results = [Float64Array.from(keyCache.values), Float64Array.from(valueCache.values)];
    const width = keyValueHeads * headDimension;
    slots.values.forEach((slot, row) => {
      for (let i = 0; i < width; i++) {
        const start = row * qkv.shape[1] + queryHeads * headDimension;
        results[0][slot * width + i] = qkv.values[start + i];
        results[1][slot * width + i] = qkv.values[start + width + i];
      }
    });
    return results;
  },
  failures: [
    { name: 'a slot beyond the cache', call: () => append([8]), code: 'OUT_OF_RANGE', readsValues: true },
    { name: 'a negative slot', call: () => append([-1]), code: 'OUT_OF_RANGE', readsValues: true },
    { name: 'a slot too many', call: () => append([0, 1]), code: 'WRONG_SHAPE' },
    { name: 'no blocks', call: () => createPagedCache(0, shape), code: 'WRONG_OPTION' },
  ],
});

function append(slots: number[]): void {
  const cache = createPagedCache(2, shape);
  try {
    pagedCacheAppend(cache.keyCache, cache.valueCache, zeros([1, 16]), tensor1d(slots, 'int32'), shape);
  } finally {
    cache.dispose();
  }
}
