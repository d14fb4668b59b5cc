/**
 * A scalar loss computed on the host from a few vectors, as one differentiable operation. Losses over log-probabilities
 * of some thousand tokens are microseconds of float64 arithmetic; in stock operations they would be dozens of kernels and
 * saved tensors. Costs one synchronisation with the device a call.
 */
import * as tf from '@tensorflow/tfjs-core';

export interface HostLoss {
  loss: number;
  /** d loss / d input, one array an input, of the input's size. */
  gradients: readonly Float32Array[];
}

export function hostLoss(inputs: readonly tf.Tensor1D[], compute: (values: Float32Array[]) => HostLoss): tf.Scalar {
  const operation = tf.customGrad((...all) => {
    // tfjs appends a function that saves tensors; the gradients are plain arrays here and need none.
    const tensors = all.slice(0, inputs.length) as tf.Tensor[];
    const { loss, gradients } = compute(tensors.map((tensor) => tensor.dataSync<'float32'>()));
    return {
      value: tf.scalar(loss),
      gradFunc: (dy: tf.Tensor) => gradients.map((gradient) => tf.mul(tf.tensor1d(gradient), dy)),
    };
  });
  return operation(...inputs) as tf.Scalar;
}

/** The same values with no gradient flowing back. */
export function stopGradient<T extends tf.Tensor>(input: T): T {
  const operation = tf.customGrad((tensor) => ({
    value: tf.clone(tensor as tf.Tensor),
    gradFunc: (dy: tf.Tensor) => tf.zerosLike(dy),
  }));
  return operation(input) as T;
}
