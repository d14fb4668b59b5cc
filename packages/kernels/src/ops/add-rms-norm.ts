/** Residual addition and normalisation in one pass: the join between two blocks of a decoder. */
import { add, clone, registerGradient, type Tensor, type Tensor2D, zerosLike } from '@tensorflow/tfjs-core';
import { XgAddRmsNorm, XgAddRmsNormGrad, XgRmsNorm } from '../kernel-names';
import { acceptMissingGradients, isMissing } from '../tape/missing-gradients';
import { registerRecomputation } from '../tape/recomputations';
import { checkNumber, checkTensors } from './check-tensors';
import { composedRmsNorm, type RmsNormOptions } from './rms-norm';
import { hasKernel, runKernel } from './run-kernel';

export interface AddRmsNormResult {
  /** rmsNorm(sum, weight), [N,D]. */
  normalized: Tensor2D;
  /** x + residual, [N,D]: the next residual. */
  sum: Tensor2D;
}

acceptMissingGradients(XgAddRmsNorm);
registerGradient({
  kernelName: XgAddRmsNorm,
  inputsToSave: ['weight'],
  outputsToSave: [false, true, true],
  gradFunc: (dys, saved) => {
    const [weight, sum, inverseRms] = saved as [Tensor, Tensor, Tensor];
    const [dy, dSum] = dys as Tensor[];
    if (isMissing(dy)) {
      // Only the sum was used: the norm contributes nothing.
      return {
        x: () => clone(dSum),
        residual: () => clone(dSum),
        weight: () => zerosLike(weight),
      };
    }
    const inputs: Record<string, Tensor> = { sum, weight, inverseRms, dy: dy };
    if (!isMissing(dSum)) inputs.dSum = dSum!;
    const [dTotal, dWeight] = runKernel(XgAddRmsNormGrad, inputs);
    return { x: () => dTotal, residual: () => dTotal, weight: () => dWeight };
  },
});

// A sum that was kept is all that the norm needs: neither x nor the residual.
registerRecomputation(XgAddRmsNorm, ({ inputs, attributes, outputs: [normalized, sum] }, isKept) => {
  if (!isKept(sum)) return [];
  const { weight } = inputs as Record<string, Tensor>;
  return [{ kernelName: XgRmsNorm, inputs: { x: sum, weight }, attributes, outputs: [normalized] }];
});

/**
 * sum = x + residual; normalized = rmsNorm(sum, weight).
 *
 * x, residual float32 [N,D], weight float32 [D] → both results float32 [N,D]. Differentiable with respect to all three, through
 * both results.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION
 */
export function addRmsNorm(x: Tensor, residual: Tensor, weight: Tensor, { epsilon }: RmsNormOptions): AddRmsNormResult {
  checkTensors('addRmsNorm', {
    x: [x, 'float32', ['N', 'D']],
    residual: [residual, 'float32', ['N', 'D']],
    weight: [weight, 'float32', ['D']],
  });
  checkNumber('addRmsNorm', 'epsilon', epsilon, { minimum: 0 });
  if (hasKernel(XgAddRmsNorm)) {
    const [normalized, sum] = runKernel(XgAddRmsNorm, { x, residual, weight }, { epsilon });
    return { normalized: normalized as Tensor2D, sum: sum as Tensor2D };
  }
  const sum = add<Tensor2D>(x, residual);
  return { normalized: composedRmsNorm(sum, weight, epsilon), sum };
}
