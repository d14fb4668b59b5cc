/** The second half of a decoder's block: norm, feed-forward layer and the addition to the residual stream. Cost: `rmsNorm`'s and `feedForward`'s. */
import { type Tensor, type Tensor2D, tidy } from '@tensorflow/tfjs-core';
import { isRecording } from '../tape/engine-internals';
import { feedForward, type FeedForwardOptions } from './feed-forward';
import { linear } from './linear';
import { residualRmsNorm } from './residual-rms-norm';
import { rmsNormLinear } from './rms-norm-linear';

export interface ResidualFeedForwardOptions extends Pick<FeedForwardOptions, 'keepGateUp'> {
  /** As in `rmsNorm`. */
  epsilon: number;
}

/**
 * stream + feedForward(rmsNorm(stream, norm), gateUpWeight, downWeight).
 *
 * stream float32 [N,D], norm float32 [D], gateUpWeight float32 [2F,D], downWeight float32 [D,F] → float32 [N,D]. Differentiable with respect to all.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION
 */
export function residualFeedForward(
  stream: Tensor,
  norm: Tensor,
  gateUpWeight: Tensor,
  downWeight: Tensor,
  { epsilon, keepGateUp }: ResidualFeedForwardOptions,
): Tensor2D {
  if (isRecording()) {
    const { normalized, residual } = residualRmsNorm(stream, norm, { epsilon });
    return feedForward(normalized, gateUpWeight, downWeight, { residual, keepGateUp });
  }
  return tidy(() => {
    const activation = rmsNormLinear(stream, norm, gateUpWeight, { epsilon, gated: true });
    return linear(activation, downWeight, { residual: stream });
  });
}
