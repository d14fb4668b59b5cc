/**
 * Llama's feed-forward layer with gated activation (Shazeer 2020, arXiv 2002.05202, eq. 6), and the addition to the residual stream after it.
 *
 * Cost: 6·N·D·F multiply-adds forward, twice that backward. Fused where the backend can: the activation and its gradient then happen inside the
 * products, which saves reading and writing the layer's wide intermediates once each way. Kept for the backward pass: x, gate and up [N,2F],
 * their activation [N,F].
 */
import { registerGradient, type Tensor, type Tensor2D, tidy } from '@tensorflow/tfjs-core';
import { XgFeedForward, XgFeedForwardGrad, XgGatedLinear, XgSwiglu } from '../kernel-names';
import { KernelsError } from '../kernels-error';
import { kept } from '../tape/checkpointed';
import { isRecording } from '../tape/engine-internals';
import { acceptMissingGradients } from '../tape/missing-gradients';
import { registerRecomputation } from '../tape/recomputations';
import { checkTensors } from './check-tensors';
import { linear } from './linear';
import { linearSwiglu } from './linear-swiglu';
import { hasKernel, runKernel } from './run-kernel';
import { swiglu } from './swiglu';

acceptMissingGradients(XgFeedForward);
registerGradient({
  kernelName: XgFeedForward,
  inputsToSave: ['x', 'gateUpWeight', 'downWeight'],
  outputsToSave: [false, true, true],
  gradFunc: (dys, saved) => {
    const [x, gateUpWeight, downWeight, gateUp, activation] = saved;
    const dy = (dys as Tensor[])[0];
    const inputs = { x, gateUpWeight, downWeight, gateUp, activation, dy };
    const [dx, dGateUpWeight, dDownWeight] = runKernel(XgFeedForwardGrad, inputs);
    return { x: () => dx, gateUpWeight: () => dGateUpWeight, downWeight: () => dDownWeight, residual: () => dy };
  },
});

// A checkpointed block that computes them again needs no last product; from gate and up that were kept, not even the first two.
registerRecomputation(XgFeedForward, ({ inputs, outputs: [, gateUp, activation] }, isKept) => {
  const { x, gateUpWeight } = inputs as Record<string, Tensor>;
  if (gateUp === undefined || activation === undefined || isKept(activation)) return [];
  return isKept(gateUp)
    ? [{ kernelName: XgSwiglu, inputs: { gateUp }, attributes: {}, outputs: [activation] }]
    : [
        {
          kernelName: XgGatedLinear,
          inputs: { x, weight: gateUpWeight },
          attributes: {},
          outputs: [gateUp, activation],
        },
      ];
});

export interface FeedForwardOptions {
  /** Added to the result, float32 [N,D]: inside the last product where the backend can. */
  residual?: Tensor;
  /** In a checkpointed block: hold gate and up for the backward pass. */
  keepGateUp?: boolean;
}

/**
 * (silu(x · gateᵀ) ⊙ (x · upᵀ)) · downWeightᵀ, plus `residual` where it is given.
 *
 * x float32 [N,D], gateUpWeight float32 [2F,D] (gate's rows, then up's), downWeight float32 [D,F], residual float32 [N,D] → float32 [N,D].
 * Differentiable with respect to all of them.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE
 */
export function feedForward(
  x: Tensor,
  gateUpWeight: Tensor,
  downWeight: Tensor,
  { residual, keepGateUp = false }: FeedForwardOptions = {},
): Tensor2D {
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
  if (isRecording() && hasKernel(XgFeedForward)) {
    const inputs = { x, gateUpWeight, downWeight, ...(residual && { residual }) };
    const [y, gateUp] = runKernel(XgFeedForward, inputs);
    if (keepGateUp) kept(gateUp);
    return y as Tensor2D;
  }
  return tidy(() => {
    if (!isRecording()) return linear(linearSwiglu(x, gateUpWeight), downWeight, { residual });
    const gateUp = linear(x, gateUpWeight);
    if (keepGateUp) kept(gateUp);
    return linear(swiglu(gateUp), downWeight, { residual });
  });
}
