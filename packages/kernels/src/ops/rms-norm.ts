/** Root-mean-square layer normalisation (Zhang and Sennrich 2019, arXiv 1910.07467). Cost: one pass over x each way. */
import {
  add,
  mean,
  mul,
  registerGradient,
  rsqrt,
  scalar,
  square,
  type Tensor,
  type Tensor2D,
  tidy,
} from '@tensorflow/tfjs-core';
import { XgRmsNorm, XgRmsNormGrad } from '../kernel-names';
import { acceptMissingGradients } from '../tape/missing-gradients';
import { checkNumber, checkTensors } from './check-tensors';
import { hasKernel, runKernel } from './run-kernel';

export interface RmsNormOptions {
  /** Added to the mean square, ≥ 0; Llama uses 1e-5 or 1e-6. */
  epsilon: number;
}

// Nothing but the gradient uses the inverse root.
acceptMissingGradients(XgRmsNorm);
registerGradient({
  kernelName: XgRmsNorm,
  inputsToSave: ['x', 'weight'],
  outputsToSave: [false, true],
  gradFunc: (dys, saved) => {
    const [x, weight, inverseRms] = saved as [Tensor, Tensor, Tensor];
    const [dx, dWeight] = runKernel(XgRmsNormGrad, { x, weight, inverseRms, dy: (dys as Tensor[])[0] });
    return { x: () => dx, weight: () => dWeight };
  },
});

/**
 * Scales every row to a root mean square of one, then by `weight`: y = x / √(mean(x²) + epsilon) · weight.
 *
 * x float32 [N,D], weight float32 [D] → float32 [N,D]. Differentiable with respect to both.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION
 */
export function rmsNorm(x: Tensor, weight: Tensor, { epsilon }: RmsNormOptions): Tensor2D {
  checkTensors('rmsNorm', { x: [x, 'float32', ['N', 'D']], weight: [weight, 'float32', ['D']] });
  checkNumber('rmsNorm', 'epsilon', epsilon, { minimum: 0 });
  if (hasKernel(XgRmsNorm)) return runKernel(XgRmsNorm, { x, weight }, { epsilon })[0] as Tensor2D;
  return composedRmsNorm(x, weight, epsilon);
}

/** The definition, in stock operations. */
export function composedRmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor2D {
  return tidy(() => {
    const inverseRms = rsqrt(add(mean(square(x), -1, true), scalar(epsilon)));
    return mul(mul(x, inverseRms), weight);
  });
}
