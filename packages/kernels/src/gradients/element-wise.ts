/** Gradients of element-wise functions of one tensor. */
import * as tf from '@tensorflow/tfjs-core';
import { registerFromOutput, registerOnce, registerUnary } from './register';

const { mul, div, sub, neg, scalar, cast, square, exp, sigmoid } = tf;

export function registerElementWiseGradients(): void {
  registerOnce({ kernelName: tf.Neg, gradFunc: (dy) => ({ x: () => neg(dy as tf.Tensor) }) });
  registerOnce({ kernelName: tf.Cast, gradFunc: (dy) => ({ x: () => tf.clone(dy as tf.Tensor) }) });
  registerOnce({ kernelName: tf.Identity, gradFunc: (dy) => ({ x: () => cast(dy as tf.Tensor, 'float32') }) });
  registerUnary(tf.Abs, (dy, x) => mul(dy, tf.sign(x)));
  registerFromOutput(tf.Exp, (dy, y) => mul(dy, y));
  registerUnary(tf.Expm1, (dy, x) => mul(dy, exp(x)));
  registerUnary(tf.Log, (dy, x) => div(dy, cast(x, 'float32')));
  registerUnary(tf.Log1p, (dy, x) => div(dy, tf.add(x, scalar(1))));
  registerUnary(tf.Sqrt, (dy, x) => div(dy, mul(tf.sqrt(cast(x, 'float32')), scalar(2))));
  registerUnary(tf.Rsqrt, (dy, x) => neg(div(dy, mul(mul(x, tf.sqrt(x)), scalar(2)))));
  registerUnary(tf.Reciprocal, (dy, x) => neg(div(dy, square(x))));
  registerUnary(tf.Square, (dy, x) => mul(dy, mul(cast(x, 'float32'), scalar(2))));
  registerFromOutput(tf.Sigmoid, (dy, y) => mul(dy, mul(y, sub(scalar(1), y))));
  registerFromOutput(tf.Tanh, (dy, y) => mul(dy, sub(scalar(1), square(y))));
  registerUnary(tf.Softplus, (dy, x) => mul(dy, sigmoid(x)));
  registerUnary(tf.Relu, (dy, x) => mul(dy, tf.step(x)));
  registerUnary(tf.Erf, (dy, x) => mul(dy, mul(exp(neg(square(x))), scalar(2 / Math.sqrt(Math.PI)))));
  registerUnary(tf.Sin, (dy, x) => mul(dy, tf.cos(x)));
  registerUnary(tf.Cos, (dy, x) => neg(mul(dy, tf.sin(x))));
  registerUnary(tf.ClipByValue, (dy, x, attributes) => {
    const inside = tf.logicalAnd(
      tf.greaterEqual(x, scalar(attributes.clipValueMin as number)),
      tf.lessEqual(x, scalar(attributes.clipValueMax as number)),
    );
    return mul(dy, cast(inside, 'float32'));
  });
  // Piecewise constant: the gradient is zero, and asking for it is no error.
  for (const kernelName of [tf.Step, tf.Sign, tf.Floor, tf.Ceil, tf.Round, tf.ZerosLike, tf.OnesLike]) {
    registerOnce({ kernelName, gradFunc: (dy) => ({ x: () => tf.zerosLike(dy as tf.Tensor) }) });
  }
}
