import { zeros } from '@tensorflow/tfjs-core';
import { floats, normal, type HostTensor } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgRmsNorm, XgRmsNormGrad } from '../kernel-names';
import { rmsNorm, type RmsNormOptions } from './rms-norm';

function rmsNormCase(tokens: number, width: number, deviation = 1, epsilon = 1e-5): OperationCase<RmsNormOptions> {
  return {
    name: `N ${tokens}, D ${width}, deviation ${deviation}, epsilon ${epsilon}`,
    inputs: { x: normal([tokens, width], 1, deviation), weight: normal([width], 2, 0.5, 1) },
    attributes: { epsilon },
  };
}

/** The definition, row by row. */
export function referenceRmsNorm(x: HostTensor, weight: HostTensor, epsilon: number): Float64Array {
  const [rows, width] = x.shape;
  const y = new Float64Array(rows * width);
  for (let row = 0; row < rows; row++) {
    let sumOfSquares = 0;
    for (let i = 0; i < width; i++) sumOfSquares += x.values[row * width + i] ** 2;
    const rootMeanSquare = Math.sqrt(sumOfSquares / width + epsilon);
    for (let i = 0; i < width; i++)
      y[row * width + i] = (x.values[row * width + i] / rootMeanSquare) * weight.values[i];
  }
  return y;
}

export const rmsNormOperation = declareOperation<RmsNormOptions>({
  operation: 'rmsNorm',
  kernels: [XgRmsNorm, XgRmsNormGrad],
  differentiable: ['x', 'weight'],
  usesMatmulPrecision: false,
  cases: [
    rmsNormCase(1, 1, 1, 0.5),
    rmsNormCase(1, 8),
    rmsNormCase(3, 5),
    rmsNormCase(17, 33),
    rmsNormCase(65, 256),
    rmsNormCase(5, 704),
    rmsNormCase(4, 64, 30, 1e-6),
    rmsNormCase(4, 64, 0.05, 0.1),
    {
      name: 'a row of zeros',
      inputs: { x: floats([2, 4], [0, 0, 0, 0, 1, 2, 3, 4]), weight: normal([4], 3) },
      attributes: { epsilon: 0.5 },
    },
    { name: 'no rows', inputs: { x: floats([0, 4], []), weight: normal([4], 3) }, attributes: { epsilon: 1e-5 } },
  ],
  benchmark: () => rmsNormCase(2048, 256),
  run: ({ x, weight }, options) => [rmsNorm(x, weight, options)],
  reference: ({ x, weight }, { epsilon }) => [referenceRmsNorm(x, weight, epsilon)],
  failures: [
    {
      name: 'a weight of another width',
      call: () => rmsNorm(zeros([2, 4]), zeros([3]), { epsilon: 1e-5 }),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'integers',
      call: () => rmsNorm(zeros([2, 4], 'int32'), zeros([4]), { epsilon: 1e-5 }),
      code: 'WRONG_DTYPE',
    },
    {
      name: 'a negative epsilon',
      call: () => rmsNorm(zeros([2, 4]), zeros([4]), { epsilon: -1 }),
      code: 'WRONG_OPTION',
    },
    {
      name: 'a disposed tensor',
      call: () => {
        const x = zeros([2, 4]);
        x.dispose();
        rmsNorm(x, zeros([4]), { epsilon: 1e-5 });
      },
      code: 'DISPOSED_TENSOR',
    },
  ],
});
