import { zeros } from '@tensorflow/tfjs-core';
import { normal } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgFeedForward, XgFeedForwardGrad, XgResidualRmsNorm, XgRmsNormLinear } from '../kernel-names';
import { referenceLinear } from './linear.cases';
import { referenceSwiglu } from './linear-swiglu.cases';
import { residualFeedForward } from './residual-feed-forward';
import { referenceRmsNorm } from './rms-norm.cases';

function layerCase(tokens: number, width: number, inner: number): OperationCase<{ epsilon: number }> {
  return {
    name: `N ${tokens}, D ${width}, F ${inner}`,
    inputs: {
      stream: normal([tokens, width], 1),
      norm: normal([width], 2, 0.5, 1),
      gateUp: normal([2 * inner, width], 3, 1 / Math.sqrt(width)),
      down: normal([width, inner], 4, 1 / Math.sqrt(inner)),
    },
    attributes: { epsilon: 0.01 },
  };
}

export const residualFeedForwardOperation = declareOperation<{ epsilon: number }>({
  operation: 'residualFeedForward',
  kernels: [XgRmsNormLinear, XgResidualRmsNorm, XgFeedForward, XgFeedForwardGrad],
  differentiable: ['stream', 'norm', 'gateUp', 'down'],
  usesMatmulPrecision: true,
  cases: [layerCase(1, 8, 24), layerCase(3, 64, 40), layerCase(8, 136, 32), layerCase(20, 48, 56)],
  benchmark: () => layerCase(8, 256, 704),
  run: ({ stream, norm, gateUp, down }, { epsilon }) => [residualFeedForward(stream, norm, gateUp, down, { epsilon })],
  reference: ({ stream, norm, gateUp, down }, { epsilon }) => {
    const normalized = { ...stream, values: referenceRmsNorm(stream, norm, epsilon) };
    const [rows] = stream.shape;
    const inner = down.shape[1];
    const values = referenceSwiglu(referenceLinear(normalized, gateUp), inner);
    const update = referenceLinear({ shape: [rows, inner], dtype: 'float32', values }, down);
    return [update.map((value, i) => value + stream.values[i])];
  },
  failures: [
    {
      name: 'a norm of another width',
      call: () => residualFeedForward(zeros([2, 4]), zeros([3]), zeros([6, 4]), zeros([4, 3]), { epsilon: 0.1 }),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'a weight of another width',
      call: () => residualFeedForward(zeros([2, 4]), zeros([4]), zeros([6, 4]), zeros([4, 2]), { epsilon: 0.1 }),
      code: 'WRONG_SHAPE',
    },
  ],
});
