/** Gated activation of Llama's feed-forward layer (Shazeer 2020, arXiv 2002.05202, eq. 6). Cost: one pass each way. */
import { mul, registerGradient, sigmoid, slice, type Tensor, type Tensor2D, tidy } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { XgSwiglu, XgSwigluGrad } from '../kernel-names';
import { checkTensors } from './check-tensors';
import { hasKernel, runKernel } from './run-kernel';

registerGradient({
  kernelName: XgSwiglu,
  inputsToSave: ['gateUp'],
  gradFunc: (dy, saved) => ({
    gateUp: () => runKernel(XgSwigluGrad, { gateUp: saved[0], dy: dy as Tensor })[0],
  }),
});

/**
 * y = silu(gate) · up, where a row of `gateUp` holds gate, then up.
 *
 * gateUp float32 [N,2F] → float32 [N,F]. Differentiable.
 *
 * @throws KernelsError WRONG_SHAPE (odd width included), WRONG_DTYPE
 */
export function swiglu(gateUp: Tensor): Tensor2D {
  const { width } = checkTensors('swiglu', { gateUp: [gateUp, 'float32', ['N', 'width']] });
  if (width % 2 !== 0) {
    throw new KernelsError('WRONG_SHAPE', `swiglu: gateUp must have an even width, but has ${width}.`, {
      value: width,
    });
  }
  if (hasKernel(XgSwiglu)) return runKernel(XgSwiglu, { gateUp })[0] as Tensor2D;
  return tidy(() => {
    const [tokens] = gateUp.shape as [number, number];
    const half = width / 2;
    const gate = slice(gateUp as Tensor2D, [0, 0], [tokens, half]);
    const up = slice(gateUp as Tensor2D, [0, half], [tokens, half]);
    return mul(mul(gate, sigmoid(gate)), up);
  });
}
