import { zeros } from '@tensorflow/tfjs-core';
import { floats, normal } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgRmsNormLinear } from '../kernel-names';
import { referenceLinear } from './linear.cases';
import { referenceSwiglu } from './linear-swiglu.cases';
import { referenceRmsNorm } from './rms-norm.cases';
import { rmsNormLinear, type RmsNormLinearOptions } from './rms-norm-linear';

function normedCase(
  tokens: number,
  input: number,
  output: number,
  gated: boolean,
): OperationCase<RmsNormLinearOptions> {
  return {
    name: `N ${tokens}, in ${input}, out ${output}${gated ? ', gated' : ''}`,
    inputs: {
      x: normal([tokens, input], 1),
      norm: normal([input], 2, 0.5, 1),
      weight: normal([output, input], 3, 1 / Math.sqrt(input)),
    },
    attributes: { epsilon: 0.01, gated },
  };
}

const sizes = [
  // Outputs enough that the gradient of x does not hang on two products' roundings.
  [1, 8, 42],
  [1, 64, 48],
  [2, 72, 34],
  [5, 31, 40],
  [8, 136, 66],
  [9, 264, 20],
  [16, 136, 130],
  [33, 48, 32],
] as const;

export const rmsNormLinearOperation = declareOperation<RmsNormLinearOptions>({
  operation: 'rmsNormLinear',
  kernels: [XgRmsNormLinear],
  differentiable: ['x', 'norm', 'weight'],
  usesMatmulPrecision: true,
  cases: [
    ...sizes.flatMap(([tokens, input, output]) =>
      [false, true].map((gated) => normedCase(tokens, input, output, gated)),
    ),
    {
      name: 'no rows',
      inputs: { x: floats([0, 4], []), norm: normal([4], 2), weight: normal([6, 4], 3) },
      attributes: { epsilon: 0.01, gated: false },
    },
  ],
  benchmark: () => normedCase(8, 256, 1408, true),
  run: ({ x, norm, weight }, options) => [rmsNormLinear(x, norm, weight, options)],
  reference: ({ x, norm, weight }, { epsilon, gated }) => {
    const normalized = { ...x, values: referenceRmsNorm(x, norm, epsilon) };
    const product = referenceLinear(normalized, weight);
    return [gated ? referenceSwiglu(product, weight.shape[0] / 2) : product];
  },
  failures: [
    {
      name: 'a norm of another width',
      call: () => rmsNormLinear(zeros([2, 4]), zeros([3]), zeros([3, 4]), { epsilon: 1e-5 }),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'an odd gated weight',
      call: () => rmsNormLinear(zeros([2, 4]), zeros([4]), zeros([3, 4]), { epsilon: 1e-5, gated: true }),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'integers',
      call: () => rmsNormLinear(zeros([2, 4], 'int32'), zeros([4]), zeros([3, 4]), { epsilon: 1e-5 }),
      code: 'WRONG_DTYPE',
    },
    {
      name: 'a negative epsilon',
      call: () => rmsNormLinear(zeros([2, 4]), zeros([4]), zeros([3, 4]), { epsilon: -1 }),
      code: 'WRONG_OPTION',
    },
  ],
});
