/** Gradients of reductions, softmax and cumulative sums. */
import * as tf from '@tensorflow/tfjs-core';
import { registerFromOutput, registerOnce, registerUnary } from './register';

const { mul, sub, sum, reshape, scalar, cast } = tf;

/** Axes of a reduction attribute (a number, a list or nothing), all of them non-negative. */
function reducedAxes(axis: unknown, rank: number): number[] {
  const axes = axis === undefined || axis === null ? Array.from({ length: rank }, (_, i) => i) : [axis].flat();
  return (axes as number[]).map((value) => (value < 0 ? value + rank : value));
}

/** `tensor` (x reduced over `axes`) with those axes back, of size 1. */
function withReducedAxes(tensor: tf.Tensor, x: tf.Tensor, axes: number[]): tf.Tensor {
  return reshape(
    tensor,
    x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size)),
  );
}

/** `tensor` broadcast to the shape of `x`; tfjs cannot broadcast to no elements. */
function spread(tensor: tf.Tensor, x: tf.Tensor): tf.Tensor {
  return x.size === 0 ? tf.zerosLike(x) : tf.broadcastTo(tensor, x.shape);
}

export function registerReductionGradients(): void {
  registerUnary(tf.Sum, (dy, x, { axis }) => spread(withReducedAxes(dy, x, reducedAxes(axis, x.rank)), x));
  registerUnary(tf.Mean, (dy, x, { axis }) => {
    const axes = reducedAxes(axis, x.rank);
    const count = axes.reduce((product, i) => product * x.shape[i], 1);
    return spread(withReducedAxes(mul(dy, scalar(1 / count)), x, axes), x);
  });
  // Every element that equals the extremum gets the whole gradient, as in tfjs.
  for (const kernelName of [tf.Max, tf.Min]) {
    registerOnce({
      kernelName,
      inputsToSave: ['x'],
      outputsToSave: [true],
      gradFunc: (dy, saved, attributes) => {
        const [x, y] = saved as [tf.Tensor, tf.Tensor];
        const axes = reducedAxes(attributes.reductionIndices ?? attributes.axis, x.rank);
        return {
          x: () =>
            mul(withReducedAxes(dy as tf.Tensor, x, axes), cast(tf.equal(x, withReducedAxes(y, x, axes)), 'float32')),
        };
      },
    });
  }
  registerFromOutput(
    tf.Softmax,
    (dy, y, { dim }) => {
      const product = mul(dy, y);
      return sub(product, mul(sum(product, [dim as number], true), y));
    },
    'logits',
  );
  registerFromOutput(
    tf.LogSoftmax,
    (dy, y, { axis }) => sub(dy, mul(sum(dy, axis as number, true), tf.exp(y))),
    'logits',
  );
  registerOnce({
    kernelName: tf.Cumsum,
    gradFunc: (dy, _, { axis, exclusive, reverse }) => ({
      x: () => tf.cumsum(dy as tf.Tensor, axis as number, exclusive as boolean, !(reverse as boolean)),
    }),
  });
}
