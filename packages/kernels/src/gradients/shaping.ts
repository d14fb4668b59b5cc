/** Gradients of operations that move elements: reshape, transpose, concatenate, split, slice, pad, gather. */
import * as tf from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { scatterAddRows } from '../ops/scatter-add-rows';
import { registerOnce, registerUnary, sumToShape } from './register';

const { reshape, slice } = tf;

/** Where each of `tensors` begins along `axis` when they lie end to end. */
function partBounds(tensors: readonly tf.Tensor[], axis: number): { begin: number[]; size: number[] }[] {
  let offset = 0;
  return tensors.map((tensor) => {
    const begin = tensor.shape.map((_, i) => (i === axis ? offset : 0));
    offset += tensor.shape[axis];
    return { begin, size: tensor.shape };
  });
}

function normalizeAxis(axis: unknown, rank: number): number {
  return (axis as number) < 0 ? (axis as number) + rank : (axis as number);
}

export function registerShapingGradients(): void {
  registerUnary(tf.Reshape, (dy, x) => reshape(dy, x.shape));
  registerUnary(tf.ExpandDims, (dy, x) => reshape(dy, x.shape), 'input');
  registerUnary(tf.BroadcastTo, (dy, x) => sumToShape(dy, x.shape));
  registerOnce({
    kernelName: tf.Transpose,
    gradFunc: (dy, _, { perm }) => ({
      x: () => {
        const inverse: number[] = [];
        (perm as number[]).forEach((from, to) => (inverse[from] = to));
        return tf.transpose(dy as tf.Tensor, inverse);
      },
    }),
  });
  registerOnce({
    kernelName: tf.Concat,
    saveAllInputs: true,
    gradFunc: (dy, saved, attributes) => {
      const axis = normalizeAxis(attributes.axis, saved[0].rank);
      const bounds = partBounds(saved, axis);
      return Object.fromEntries(
        bounds.map(({ begin, size }, index) => [index, () => slice(dy as tf.Tensor, begin, size)]),
      );
    },
  });
  registerOnce({
    kernelName: tf.Pack,
    saveAllInputs: true,
    gradFunc: (dy, saved, { axis }) => {
      const parts = tf.unstack(dy as tf.Tensor, axis as number);
      return Object.fromEntries(saved.map((_, index) => [index, () => parts[index]]));
    },
  });
  registerOnce({
    kernelName: tf.Unpack,
    gradFunc: (dy, _, { axis }) => ({ value: () => tf.stack(dy as tf.Tensor[], axis as number) }),
  });
  registerOnce({
    kernelName: tf.SplitV,
    gradFunc: (dy, _, { axis }) => ({ x: () => tf.concat(dy as tf.Tensor[], axis as number) }),
  });
  registerUnary(tf.Slice, (dy, x, attributes) => {
    const begin = [attributes.begin].flat() as number[];
    const paddings = x.shape.map((size, axis): [number, number] => {
      const before = begin[axis] ?? 0;
      return [before, size - before - dy.shape[axis]];
    });
    return tf.pad(dy, paddings);
  });
  registerUnary(tf.PadV2, (dy, x, { paddings }) =>
    slice(
      dy,
      (paddings as number[][]).map(([before]) => before),
      x.shape,
    ),
  );
  registerUnary(tf.Reverse, (dy, _, { dims }) => tf.reverse(dy, dims as number[]));
  registerUnary(tf.Tile, (dy, x, { reps }) => {
    // [r0·s0, r1·s1, …] → [r0, s0, r1, s1, …], then sum the repetitions.
    const repetitions = reps as number[];
    const interleaved = reshape(
      dy,
      x.shape.flatMap((size, axis) => [repetitions[axis], size]),
    );
    return tf.sum(
      interleaved,
      x.shape.map((_, axis) => 2 * axis),
    );
  });
  registerOnce({ kernelName: tf.GatherV2, inputsToSave: ['x', 'indices'], gradFunc: gatherGradient });
  registerOnce({
    kernelName: tf.UnsortedSegmentSum,
    inputsToSave: ['segmentIds'],
    gradFunc: (dy, saved) => ({ x: () => tf.gather(dy as tf.Tensor, saved[0]) }),
  });
}

/** Gathers along any axis; the gradient adds rows up in the order of the indices, so it is deterministic. */
function gatherGradient(
  dy: tf.Tensor | tf.Tensor[],
  saved: tf.Tensor[],
  attributes: tf.NamedAttrMap,
): Record<string, () => tf.Tensor> {
  const [x, indices] = saved as [tf.Tensor, tf.Tensor];
  if (attributes.batchDims !== undefined && attributes.batchDims !== 0) {
    throw new KernelsError('UNSUPPORTED_GRADIENT', 'gather with batchDims has no gradient here.', {
      value: attributes.batchDims,
      remedy: 'Flatten the batch into the indices.',
    });
  }
  const axis = normalizeAxis(attributes.axis, x.rank);
  const toFront = [axis, ...x.shape.map((_, i) => i).filter((i) => i !== axis)];
  const restShape = toFront.slice(1).map((i) => x.shape[i]);
  return {
    indices: () => tf.zerosLike(indices),
    x: () => {
      // dy is [before…, indices…, after…]: bring the index axes to the front as one.
      const indexAxes = indices.shape.map((_, i) => axis + i);
      const others = (dy as tf.Tensor).shape.map((_, i) => i).filter((i) => !indexAxes.includes(i));
      const rows = reshape<tf.Rank.R2>(tf.transpose(dy as tf.Tensor, [...indexAxes, ...others]), [
        indices.size,
        restShape.reduce((product, size) => product * size, 1),
      ]);
      const summed = scatterAddRows(rows, reshape<tf.Rank.R1>(indices, [indices.size]), x.shape[axis]);
      const back: number[] = [];
      toFront.forEach((from, to) => (back[from] = to));
      return tf.transpose(reshape(summed, [x.shape[axis], ...restShape]), back);
    },
  };
}
