/**
 * Llama's feed-forward layer with gated activation (Shazeer 2020, arXiv 2002.05202, eq. 6), and the addition to the residual stream after it.
 *
 * Cost: 6·N·D·F multiply-adds forward, twice that backward. Fused where the backend can: the activation and its gradient then happen inside the
 * products, which saves reading and writing the layer's wide intermediates once each way. Kept for the backward pass: x, gate and up [N,2F],
 * their activation [N,F].
 */
import { add, registerGradient, type Tensor, type Tensor2D, tidy } from '@tensorflow/tfjs-core';
import { XgFeedForward, XgFeedForwardGrad } from '../kernel-names';
import { KernelsError } from '../kernels-error';
import { acceptMissingGradients } from '../tape/missing-gradients';
import { checkTensors } from './check-tensors';
import { linear } from './linear';
import { hasKernel, runKernel } from './run-kernel';
import { swiglu } from './swiglu';

acceptMissingGradients(XgFeedForward);
registerGradient({
  kernelName: XgFeedForward,
  inputsToSave: ['x', 'gateUpWeight', 'downWeight'],
  outputsToSave: [false, true, true],
  gradFunc: (dys, saved) => {
    const [x, gateUpWeight, downWeight, gateUp, activation] = saved as Tensor[];
    const dy = (dys as Tensor[])[0];
    const inputs = { x, gateUpWeight, downWeight, gateUp, activation, dy };
    const [dx, dGateUpWeight, dDownWeight] = runKernel(XgFeedForwardGrad, inputs);
    return { x: () => dx, gateUpWeight: () => dGateUpWeight, downWeight: () => dDownWeight, residual: () => dy };
  },
});

/**
 * (silu(x · gateᵀ) ⊙ (x · upᵀ)) · downWeightᵀ, plus `residual` where it is given.
 *
 * x float32 [N,D], gateUpWeight float32 [2F,D] (gate's rows, then up's), downWeight float32 [D,F], residual float32 [N,D] → float32 [N,D].
 * Differentiable with respect to all of them.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE
 */
export function feedForward(x: Tensor, gateUpWeight: Tensor, downWeight: Tensor, residual?: Tensor): Tensor2D {
  const { F, twoF } = checkTensors('feedForward', {
    x: [x, 'float32', ['N', 'D']],
    gateUpWeight: [gateUpWeight, 'float32', ['twoF', 'D']],
    downWeight: [downWeight, 'float32', ['D', 'F']],
    ...(residual && { residual: [residual, 'float32', ['N', 'D']] as const }),
  });
  if (twoF !== 2 * F) {
    throw new KernelsError(
      'WRONG_SHAPE',
      `feedForward: gateUpWeight must have ${2 * F} rows, two for each column of downWeight, but has ${twoF}.`,
      { value: twoF },
    );
  }
  if (hasKernel(XgFeedForward)) {
    return runKernel(XgFeedForward, { x, gateUpWeight, downWeight, ...(residual && { residual }) })[0] as Tensor2D;
  }
  return tidy(() => {
    const y = linear(swiglu(linear(x, gateUpWeight)), downWeight);
    return residual === undefined ? y : add(y, residual);
  });
}
