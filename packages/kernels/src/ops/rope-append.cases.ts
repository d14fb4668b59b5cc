import { tensor, tensor1d, type Tensor, variable, type Variable, zeros } from '@tensorflow/tfjs-core';
import { floats, integers, normal } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgRopeAppend } from '../kernel-names';
import { createPagedCache, type PagedCacheShape } from './paged-cache';
import { referenceRope } from './rope.cases';
import { ropeAppend, type RopeAppendOptions } from './rope-append';

function ropeAppendCase(
  slots: number[],
  positions: number[],
  blocks: number,
  options: RopeAppendOptions,
): OperationCase<RopeAppendOptions> {
  const { queryHeads, keyValueHeads, headDimension, blockSize } = options;
  const cache = [blocks * blockSize, keyValueHeads * headDimension];
  const half = headDimension / 2;
  return {
    name: `slots ${slots.slice(0, 8).join(', ')} of ${cache[0]}, ${queryHeads}/${keyValueHeads} heads of ${headDimension}`,
    inputs: {
      keyCache: normal(cache, 1),
      valueCache: normal(cache, 2),
      qkv: normal([slots.length, (queryHeads + 2 * keyValueHeads) * headDimension], 3),
      positions: integers([slots.length], positions),
      inverseFrequencies: floats(
        [half],
        Array.from({ length: half }, (_, i) => 10000 ** (-i / half)),
      ),
      slots: integers([slots.length], slots),
    },
    attributes: options,
  };
}

const owned = (source: Tensor): Variable => variable(tensor(source.dataSync().slice(), source.shape, 'float32'), false);
const shape: PagedCacheShape = { queryHeads: 2, keyValueHeads: 1, headDimension: 4, blockSize: 4 };

export const ropeAppendOperation = declareOperation<RopeAppendOptions>({
  operation: 'ropeAppend',
  kernels: [XgRopeAppend],
  differentiable: [],
  usesMatmulPrecision: false,
  changesInPlace: true,
  cases: [
    ropeAppendCase([0], [5], 1, { ...shape, headDimension: 2, blockSize: 1 }),
    ropeAppendCase([5, 0, 11, 3], [9, 0, 100, 7], 3, { ...shape, attentionScaling: 1.25 }),
    ropeAppendCase([7], [511], 2, { queryHeads: 32, keyValueHeads: 8, headDimension: 64, blockSize: 16 }),
    ropeAppendCase([31, 2, 30, 9, 8], [70000, 2, 3, 4, 5], 2, {
      queryHeads: 8,
      keyValueHeads: 4,
      headDimension: 34,
      blockSize: 16,
    }),
  ],
  benchmark: () =>
    ropeAppendCase(
      Array.from({ length: 256 }, (_, i) => (i * 37) % 4096),
      Array.from({ length: 256 }, (_, i) => i),
      256,
      { queryHeads: 8, keyValueHeads: 4, headDimension: 32, blockSize: 16 },
    ),
  run: ({ keyCache, valueCache, qkv, positions, inverseFrequencies, slots }, attributes) => {
    const [keys, values] = [owned(keyCache), owned(valueCache)];
    return [ropeAppend(keys, values, qkv, positions, inverseFrequencies, slots, attributes), keys, values];
  },
  reference: (inputs, { queryHeads, keyValueHeads, headDimension, attentionScaling }) => {
    const { keyCache, valueCache, qkv, positions, inverseFrequencies, slots } = inputs;
    const rotatedHeads = queryHeads + keyValueHeads;
    const y = referenceRope(qkv, positions, inverseFrequencies, { rotatedHeads, headDimension, attentionScaling });
    const caches = [Float64Array.from(keyCache.values), Float64Array.from(valueCache.values)];
    const width = keyValueHeads * headDimension;
    slots.values.forEach((slot, row) => {
      caches.forEach((cache, which) => {
        const start = row * qkv.shape[1] + queryHeads * headDimension + which * width;
        cache.set(y.subarray(start, start + width), slot * width);
      });
    });
    return [y, ...caches];
  },
  failures: [
    { name: 'a slot beyond the cache', call: () => append([8]), code: 'OUT_OF_RANGE', readsValues: true },
    { name: 'a slot too many', call: () => append([0, 1]), code: 'WRONG_SHAPE' },
    { name: 'an odd head', call: () => append([0], { ...shape, headDimension: 3 }), code: 'WRONG_OPTION' },
    { name: 'no scaling', call: () => append([0], { ...shape, attentionScaling: NaN }), code: 'WRONG_OPTION' },
  ],
});

function append(slots: number[], options: RopeAppendOptions = shape): void {
  const cache = createPagedCache(2, shape);
  const [qkv, positions] = [zeros([1, 16]), tensor1d([0], 'int32')];
  try {
    ropeAppend(cache.keyCache, cache.valueCache, qkv, positions, zeros([2]), tensor1d(slots, 'int32'), options);
  } finally {
    cache.dispose();
  }
}
