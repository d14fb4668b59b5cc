/**
 * Gradients of tfjs's stock operations.
 *
 * tfjs-core registers none when it is imported in Node (they live in ES modules that Node cannot resolve), so this package
 * registers those that language models and their losses use. A gradient that is registered already (by `@tensorflow/tfjs`,
 * say) is left alone. An operation outside this list fails with tfjs's "gradient function not found for …"; add it with tfjs's
 * `registerGradient`.
 */
import {
  getGradient,
  registerGradient,
  sum,
  reshape,
  type GradConfig,
  type Tensor,
  type NamedAttrMap,
} from '@tensorflow/tfjs-core';

/** Registers a gradient unless one exists. */
export function registerOnce(configuration: GradConfig): void {
  const existing: GradConfig | undefined = getGradient(configuration.kernelName);
  if (existing === undefined) registerGradient(configuration);
}

/** Gradient of y = f(x), from x: `derivative(dy, x)` returns dx. */
export function registerUnary(
  kernelName: string,
  derivative: (dy: Tensor, x: Tensor, attributes: NamedAttrMap) => Tensor,
  inputName = 'x',
): void {
  registerOnce({
    kernelName,
    inputsToSave: [inputName],
    gradFunc: (dy, saved, attributes) => ({ [inputName]: () => derivative(dy as Tensor, saved[0], attributes) }),
  });
}

/** Gradient of y = f(x), from y: `derivative(dy, y)` returns dx. */
export function registerFromOutput(
  kernelName: string,
  derivative: (dy: Tensor, y: Tensor, attributes: NamedAttrMap) => Tensor,
  inputName = 'x',
): void {
  registerOnce({
    kernelName,
    outputsToSave: [true],
    gradFunc: (dy, saved, attributes) => ({ [inputName]: () => derivative(dy as Tensor, saved[0], attributes) }),
  });
}

/** Gradient of y = f(a, b) with broadcasting: the two derivatives have y's shape and are summed down to their inputs'. */
export function registerBinary(
  kernelName: string,
  derivativeA: (dy: Tensor, a: Tensor, b: Tensor) => Tensor,
  derivativeB: (dy: Tensor, a: Tensor, b: Tensor) => Tensor,
): void {
  registerOnce({
    kernelName,
    inputsToSave: ['a', 'b'],
    gradFunc: (dy, saved) => {
      const [a, b] = saved as [Tensor, Tensor];
      return {
        a: () => sumToShape(derivativeA(dy as Tensor, a, b), a.shape),
        b: () => sumToShape(derivativeB(dy as Tensor, a, b), b.shape),
      };
    },
  });
}

/** Undoes broadcasting: sums `tensor` over the axes in which `shape` has size 1 or no axis at all. */
export function sumToShape(tensor: Tensor, shape: readonly number[]): Tensor {
  const missing = tensor.shape.length - shape.length;
  const axes = tensor.shape
    .map((_, axis) => axis)
    .filter((axis) => axis < missing || (shape[axis - missing] === 1 && tensor.shape[axis] !== 1));
  return reshape(axes.length === 0 ? tensor : sum(tensor, axes), [...shape]);
}
