/**
 * Row-wise scatter-add, the backward pass of every row lookup.
 *
 * tfjs's `unsortedSegmentSum` is missing on `wasm` and loops over all segments on `cpu`; on backends whose tensors lie in this
 * process's memory one pass over the rows does it: O(N·D), deterministic (rows are added in their order).
 */
import { tensor2d, unsortedSegmentSum, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import { isHostBackend, readValues } from './host-memory';

/** rows [N,D], ids int32 [N] (0 ≤ id < count) → [count,D], where row i is the sum of the rows with id i. */
export function scatterAddRows(rows: Tensor2D, ids: Tensor1D, count: number): Tensor2D {
  if (!isHostBackend()) return unsortedSegmentSum(rows, ids, count);
  const width = rows.shape[1];
  const source = readValues(rows);
  const targets = readValues(ids);
  const sums = new Float32Array(count * width);
  for (let row = 0; row < targets.length; row++) {
    const from = row * width;
    const to = targets[row] * width;
    for (let column = 0; column < width; column++) sums[to + column] += source[from + column];
  }
  return tensor2d(sums, [count, width], 'float32');
}
