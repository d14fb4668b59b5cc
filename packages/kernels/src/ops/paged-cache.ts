/**
 * The paged key/value cache (Kwon et al. 2023, arXiv 2309.06180): one pool of rows a layer, cut into blocks that sequences
 * own through block tables.
 *
 * The caches are two variables that own their data; `pagedCacheAppend` writes rows into them in place on every backend whose
 * memory this process can reach (native, cpu, wasm), at the cost of the rows written. On others (`tensorflow`) it assigns a scattered
 * copy, at the cost of the whole cache.
 */
import {
  engine,
  reshape,
  slice,
  tensorScatterUpdate,
  type Tensor,
  tidy,
  variable,
  type Variable,
  zeros,
} from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { XgPagedCacheAppend } from '../kernel-names';
import { isRecording } from '../tape/engine-internals';
import { checkInteger, checkTensors } from './check-tensors';
import { checkIdRange } from './check-values';
import { hostView, isHostBackend, readValues } from './host-memory';
import { hasKernel, runKernel } from './run-kernel';

/**
 * As a slot or a context length: no row, no sequence here. Nothing is appended, and the row's attention is 0, so that a function captured for
 * B rows serves fewer. Understood where `capture` records (`canRecord`); elsewhere such a slot or length is out of range.
 */
export const unusedRow = -(2 ** 31);

export interface PagedCacheShape {
  queryHeads: number;
  keyValueHeads: number;
  headDimension: number;
  /** Rows (tokens) of a block. */
  blockSize: number;
}

/** The cache of one layer: keys and values, each float32 [blocks·blockSize, Hkv·hd]. */
export interface PagedCache {
  readonly keyCache: Variable;
  readonly valueCache: Variable;
  readonly shape: PagedCacheShape;
  readonly blocks: number;
  dispose(): void;
}

/**
 * An empty cache of `blocks` blocks for one layer, on the active backend: 2·blocks·blockSize·Hkv·hd·4 bytes.
 *
 * @throws KernelsError WRONG_OPTION
 */
export function createPagedCache(blocks: number, shape: PagedCacheShape): PagedCache {
  checkInteger('createPagedCache', 'blocks', blocks, 1);
  checkPagedCacheShape('createPagedCache', shape);
  const size: [number, number] = [blocks * shape.blockSize, shape.keyValueHeads * shape.headDimension];
  // The zeros go at once: the variable must be the only owner of data that are changed in place.
  const [keyCache, valueCache] = [0, 1].map(() => tidy(() => variable(zeros(size), false))) as [Variable, Variable];
  return {
    keyCache,
    valueCache,
    shape,
    blocks,
    dispose: () => {
      keyCache.dispose();
      valueCache.dispose();
    },
  };
}

/**
 * Writes the key and value heads of each row of qkv to row slots[n] of the caches, in place.
 *
 * qkv float32 [N,(Hq+2Hkv)·hd], slots int32 [N] with 0 ≤ slot < blocks·blockSize; the caches float32 [blocks·blockSize, Hkv·hd]. Rows
 * that share a slot: the last wins. Inference only.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION, OUT_OF_RANGE, NO_GRADIENT (inside a differentiated function)
 */
export function pagedCacheAppend(
  keyCache: Variable,
  valueCache: Variable,
  qkv: Tensor,
  slots: Tensor,
  shape: PagedCacheShape,
): void {
  checkPagedCacheShape('pagedCacheAppend', shape);
  refuseRecording('pagedCacheAppend');
  const { queryHeads, keyValueHeads, headDimension } = shape;
  const width = keyValueHeads * headDimension;
  const { rows } = checkTensors('pagedCacheAppend', {
    keyCache: [keyCache, 'float32', ['rows', width]],
    valueCache: [valueCache, 'float32', ['rows', width]],
    qkv: [qkv, 'float32', ['N', (queryHeads + 2 * keyValueHeads) * headDimension]],
    slots: [slots, 'int32', ['N']],
  });
  checkIdRange('pagedCacheAppend', 'slots', slots, rows);
  if (hasKernel(XgPagedCacheAppend)) {
    runKernel(XgPagedCacheAppend, { keyCache, valueCache, qkv, slots }, { queryHeads, keyValueHeads, headDimension });
    return;
  }
  const keyColumn = queryHeads * headDimension;
  writeRows(keyCache, qkv, slots, keyColumn, width);
  writeRows(valueCache, qkv, slots, keyColumn + width, width);
}

/** cache[slots[n]] ← qkv[n, column … column+width−1]. */
function writeRows(cache: Variable, qkv: Tensor, slots: Tensor, column: number, width: number): void {
  if (!isHostBackend()) {
    tidy(() => {
      const rows = slice(qkv, [0, column], [qkv.shape[0], width]);
      cache.assign(tensorScatterUpdate(cache, reshape(slots, [slots.shape[0], 1]), rows));
    });
    return;
  }
  const source = readValues(qkv);
  const targets = readValues(slots);
  const [, stride] = qkv.shape as [number, number];
  // Taken last: nothing may be allocated while it is held.
  const target = hostView(cache);
  if (target === undefined) {
    throw new KernelsError('NATIVE_FAILURE', 'pagedCacheAppend: the cache has no memory in this process.', {
      value: engine().backendName,
    });
  }
  for (let row = 0; row < targets.length; row++) {
    const from = row * stride + column;
    target.set(source.subarray(from, from + width), targets[row] * width);
  }
}

export function checkPagedCacheShape(operation: string, shape: PagedCacheShape): void {
  checkInteger(operation, 'queryHeads', shape.queryHeads, 1);
  checkInteger(operation, 'keyValueHeads', shape.keyValueHeads, 1);
  checkInteger(operation, 'headDimension', shape.headDimension, 1);
  checkInteger(operation, 'blockSize', shape.blockSize, 1);
}

export function refuseRecording(operation: string): void {
  if (!isRecording()) return;
  throw new KernelsError(
    'NO_GRADIENT',
    `${operation} has no gradient and cannot run inside a differentiated function.`,
    {
      value: operation,
      remedy: 'Use groupedQueryAttention for training.',
    },
  );
}
