import { zeros } from '@tensorflow/tfjs-core';
import { normal, type HostTensor } from '../conformance/host-tensor';
import { declareOperation, type NoAttributes, type OperationCase } from '../conformance/operation-declaration';
import { XgFeedForward, XgFeedForwardGrad } from '../kernel-names';
import { feedForward } from './feed-forward';
import { referenceLinear } from './linear.cases';

function feedForwardCase(tokens: number, width: number, inner: number): OperationCase<NoAttributes> {
  return {
    name: `N ${tokens}, D ${width}, F ${inner}`,
    inputs: {
      x: normal([tokens, width], 1),
      gateUpWeight: normal([2 * inner, width], 2, 1 / Math.sqrt(width)),
      downWeight: normal([width, inner], 3, 1 / Math.sqrt(inner)),
      residual: normal([tokens, width], 4),
    },
    attributes: {},
  };
}

/** silu(gate) · up of the halves of each row. */
function referenceActivation(gateUp: Float64Array, rows: number, inner: number): HostTensor {
  const values = new Float64Array(rows * inner);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < inner; i++) {
      const [gate, up] = [gateUp[row * 2 * inner + i], gateUp[(row * 2 + 1) * inner + i]];
      values[row * inner + i] = (gate / (1 + Math.exp(-gate))) * up;
    }
  }
  return { shape: [rows, inner], dtype: 'float32', values };
}

export const feedForwardOperation = declareOperation<NoAttributes>({
  operation: 'feedForward',
  kernels: [XgFeedForward, XgFeedForwardGrad],
  differentiable: ['x', 'gateUpWeight', 'downWeight', 'residual'],
  usesMatmulPrecision: true,
  cases: [
    feedForwardCase(1, 1, 1),
    feedForwardCase(3, 5, 7),
    feedForwardCase(9, 16, 24),
    // More than a tile each way, and none of them whole.
    feedForwardCase(257, 80, 136),
  ],
  benchmark: () => feedForwardCase(2048, 256, 704),
  run: ({ x, gateUpWeight, downWeight, residual }) => [feedForward(x, gateUpWeight, downWeight, { residual })],
  reference: ({ x, gateUpWeight, downWeight, residual }) => {
    const inner = downWeight.shape[1];
    const gateUp = referenceLinear(x, gateUpWeight);
    const y = referenceLinear(referenceActivation(gateUp, x.shape[0], inner), downWeight);
    return [y.map((value, i) => value + residual.values[i])];
  },
  failures: [
    {
      name: 'a residual of another shape',
      call: () => feedForward(zeros([2, 4]), zeros([6, 4]), zeros([4, 3]), { residual: zeros([3, 4]) }),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'weights that do not fit',
      call: () => feedForward(zeros([2, 4]), zeros([5, 4]), zeros([4, 3])),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'integers',
      call: () => feedForward(zeros([2, 4], 'int32'), zeros([6, 4]), zeros([4, 3])),
      code: 'WRONG_DTYPE',
    },
  ],
});
