/**
 * A matrix product of normalised rows, as both halves of a decoder's block begin: in inference one launch for few rows where the backend has it, else
 * the operations one after the other.
 */
import { type Tensor, type Tensor2D, tidy } from '@tensorflow/tfjs-core';
import { XgRmsNormLinear, type XgRmsNormLinearAttrs } from '../kernel-names';
import { isRecording } from '../tape/engine-internals';
import { checkNumber, checkTensors } from './check-tensors';
import { linear } from './linear';
import { checkGatedWeight, linearSwiglu } from './linear-swiglu';
import { residualRmsNorm } from './residual-rms-norm';
import { rmsNorm } from './rms-norm';
import { hasKernel, runKernel } from './run-kernel';

export interface RmsNormLinearOptions {
  /** As in `rmsNorm`. */
  epsilon: number;
  /** The weight is `linearSwiglu`'s, and so is the result. Default false. */
  gated?: boolean;
}

/**
 * y = linear(rmsNorm(x, norm), weight), or linearSwiglu of them.
 *
 * x float32 [N,in], norm float32 [in], weight float32 [out,in] → float32 [N,out]; `gated`: weight [2F,in] → [N,F]. Differentiable with respect to all.
 *
 * @throws KernelsError WRONG_SHAPE (an odd number of rows included where they are gated), WRONG_DTYPE, WRONG_OPTION
 */
export function rmsNormLinear(
  x: Tensor,
  norm: Tensor,
  weight: Tensor,
  { epsilon, gated = false }: RmsNormLinearOptions,
): Tensor2D {
  const { out } = checkTensors('rmsNormLinear', {
    x: [x, 'float32', ['N', 'in']],
    norm: [norm, 'float32', ['in']],
    weight: [weight, 'float32', ['out', 'in']],
  });
  checkNumber('rmsNormLinear', 'epsilon', epsilon, { minimum: 0 });
  if (gated) checkGatedWeight('rmsNormLinear', out);
  if (!isRecording() && hasKernel(XgRmsNormLinear)) {
    const attributes: XgRmsNormLinearAttrs = { epsilon, gated };
    return runKernel(XgRmsNormLinear, { x, norm, weight }, attributes)[0] as Tensor2D;
  }
  return tidy(() => {
    const normalized = rmsNorm(x, norm, { epsilon });
    return gated ? linearSwiglu(normalized, weight) : linear(normalized, weight);
  });
}

export interface ResidualRmsNormLinearResult {
  /** linear(rmsNorm(residual, norm), weight), [N,out]. */
  product: Tensor2D;
  /** As `residualRmsNorm` returns it. [N,in] */
  residual: Tensor2D;
}

/** `rmsNormLinear` of a residual stream that goes on: where gradients are recorded, they join as those of `residualRmsNorm` do. */
export function residualRmsNormLinear(
  stream: Tensor,
  norm: Tensor,
  weight: Tensor,
  { epsilon }: { epsilon: number },
): ResidualRmsNormLinearResult {
  if (!isRecording())
    return { product: rmsNormLinear(stream, norm, weight, { epsilon }), residual: stream as Tensor2D };
  const { normalized, residual } = residualRmsNorm(stream, norm, { epsilon });
  return { product: linear(normalized, weight), residual };
}
