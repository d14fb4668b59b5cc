/** Normalisation of a residual stream that goes on: the start of each half of a decoder's block. Cost: one pass over the stream each way. */
import { clone, registerGradient, type Tensor, type Tensor2D, zerosLike } from '@tensorflow/tfjs-core';
import { XgAddRmsNormGrad, XgResidualRmsNorm } from '../kernel-names';
import { acceptMissingGradients, isMissing } from '../tape/missing-gradients';
import { checkNumber, checkTensors } from './check-tensors';
import { rmsNorm, type RmsNormOptions } from './rms-norm';
import { hasKernel, runKernel } from './run-kernel';

export interface ResidualRmsNormResult {
  /** rmsNorm(residual, weight), [N,D]. */
  normalized: Tensor2D;
  /** The stream as it was given, to be added to; where the backend can, its gradient joins the norm's in one pass. [N,D] */
  residual: Tensor2D;
}

acceptMissingGradients(XgResidualRmsNorm);
registerGradient({
  kernelName: XgResidualRmsNorm,
  inputsToSave: ['x', 'weight'],
  outputsToSave: [false, false, true],
  gradFunc: (dys, saved) => {
    const [x, weight, inverseRms] = saved as [Tensor, Tensor, Tensor];
    const [dy, dResidual] = dys as Tensor[];
    if (isMissing(dy)) return { x: () => clone(dResidual), weight: () => zerosLike(weight) };
    const inputs = { sum: x, weight, inverseRms, dy, ...(!isMissing(dResidual) && { dSum: dResidual }) };
    const [dx, dWeight] = runKernel(XgAddRmsNormGrad, inputs);
    return { x: () => dx, weight: () => dWeight };
  },
});

/**
 * normalized = rmsNorm(residual, weight), beside the residual itself.
 *
 * residual float32 [N,D], weight float32 [D] → both results float32 [N,D]. Differentiable with respect to both, through both results.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION
 */
export function residualRmsNorm(residual: Tensor, weight: Tensor, { epsilon }: RmsNormOptions): ResidualRmsNormResult {
  checkTensors('residualRmsNorm', { residual: [residual, 'float32', ['N', 'D']], weight: [weight, 'float32', ['D']] });
  checkNumber('residualRmsNorm', 'epsilon', epsilon, { minimum: 0 });
  if (hasKernel(XgResidualRmsNorm)) {
    const [normalized, passed] = runKernel(XgResidualRmsNorm, { x: residual, weight }, { epsilon });
    return { normalized: normalized as Tensor2D, residual: passed as Tensor2D };
  }
  return { normalized: rmsNorm(residual, weight, { epsilon }), residual: residual as Tensor2D };
}
