/** Matrix product with a weight in Hugging Face's layout. Cost: 2·N·in·out multiply-adds forward, twice that backward. */
import { add, pad, registerGradient, slice, type Tensor, type Tensor2D, tidy } from '@tensorflow/tfjs-core';
import { XgLinear, XgLinearAdd, XgLinearGrad } from '../kernel-names';
import { checkTensors } from './check-tensors';
import { matrixProduct } from './matrix-product';
import { hasKernel, runKernel } from './run-kernel';

registerGradient({
  kernelName: XgLinear,
  inputsToSave: ['x', 'weight'],
  gradFunc: (dy, saved) => {
    const [x, weight] = saved as [Tensor, Tensor];
    const [dx, dWeight] = runKernel(XgLinearGrad, { x, weight, dy: dy as Tensor });
    return { x: () => dx, weight: () => dWeight };
  },
});

registerGradient({
  kernelName: XgLinearAdd,
  inputsToSave: ['x', 'weight'],
  gradFunc: (dy, saved) => {
    const [x, weight] = saved as [Tensor, Tensor];
    const [dx, dWeight] = runKernel(XgLinearGrad, { x, weight, dy: dy as Tensor });
    return { x: () => dx, weight: () => dWeight, residual: () => dy as Tensor };
  },
});

export interface LinearOptions {
  /** Added to the product, float32 [N,out]: inside it where the backend can. Differentiable. */
  residual?: Tensor;
  /**
   * Store y in float32 even where the backend stores activations in less (`cuda` with `setMatmulPrecision('bfloat16')`): for logits that are sampled
   * from or turned into log-probabilities. Default false.
   */
  float32Output?: boolean;
}

/**
 * y = x · weightᵀ, without bias, plus `residual` where it is given.
 *
 * x float32 [N,in], weight float32 [out,in] → float32 [N,out]. Differentiable with respect to both. Multiplies in bfloat16
 * (accumulating in float32) where the backend can and `setMatmulPrecision('bfloat16')` was called.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE
 */
export function linear(x: Tensor, weight: Tensor, { residual, float32Output = false }: LinearOptions = {}): Tensor2D {
  checkTensors('linear', {
    x: [x, 'float32', ['N', 'in']],
    weight: [weight, 'float32', ['out', 'in']],
    ...(residual && { residual: [residual, 'float32', ['N', 'out']] as const }),
  });
  if (residual !== undefined) {
    if (!float32Output && hasKernel(XgLinearAdd)) {
      return runKernel(XgLinearAdd, { x, weight, residual })[0] as Tensor2D;
    }
    return tidy(() => add<Tensor2D>(linear(x, weight, { float32Output }), residual));
  }
  if (hasKernel(XgLinear)) {
    return runKernel(XgLinear, { x, weight }, { float32Output })[0] as Tensor2D;
  }
  // Without rows there is nothing to multiply, and the library beneath `wasm` complains.
  if (x.shape[0] === 0)
    return pad(slice(x as Tensor2D, [0, 0], [0, 0]), [
      [0, 0],
      [0, weight.shape[0]],
    ]);
  return matrixProduct(x, weight, false, true) as Tensor2D;
}
