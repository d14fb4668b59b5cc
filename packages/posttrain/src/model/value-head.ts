/** A linear value function on hidden states: D + 1 numbers, zero at first, so that training starts from value 0. */
import * as tf from '@tensorflow/tfjs-core';
import { linear } from '@xgen-small/kernels';

export class ValueHead {
  /** [1, D] and [1], by the names they have in checkpoints. */
  readonly parameters: ReadonlyMap<string, tf.Variable>;
  private readonly weight: tf.Variable;
  private readonly bias: tf.Variable;

  constructor(hiddenSize: number) {
    this.weight = tf.tidy(() => tf.variable(tf.zeros([1, hiddenSize])));
    this.bias = tf.tidy(() => tf.variable(tf.zeros([1])));
    this.parameters = new Map([
      ['value_head.weight', this.weight],
      ['value_head.bias', this.bias],
    ]);
  }

  /** hidden [R, D] → values [R]. */
  values(hidden_RD: tf.Tensor2D): tf.Tensor1D {
    return tf.tidy(() => {
      const rows = hidden_RD.shape[0];
      return tf.add(tf.reshape(linear(hidden_RD, this.weight, { float32Output: true }), [rows]), this.bias);
    });
  }

  dispose(): void {
    this.weight.dispose();
    this.bias.dispose();
  }
}
