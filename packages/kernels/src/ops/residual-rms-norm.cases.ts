import { add, mul, zeros } from '@tensorflow/tfjs-core';
import { normal } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgAddRmsNormGrad, XgResidualRmsNorm } from '../kernel-names';
import { referenceRmsNorm } from './rms-norm.cases';
import { residualRmsNorm } from './residual-rms-norm';

interface Attributes {
  epsilon: number;
  /** Which results the caller goes on with: the gradient of the other is missing. */
  used: 'both' | 'normalized' | 'residual';
}

function residualRmsNormCase(
  tokens: number,
  width: number,
  used: Attributes['used'] = 'both',
): OperationCase<Attributes> {
  return {
    name: `N ${tokens}, D ${width}, ${used} used`,
    inputs: { residual: normal([tokens, width], 2, 3), weight: normal([width], 3, 0.5, 1) },
    attributes: { epsilon: 1e-5, used },
  };
}

export const residualRmsNormOperation = declareOperation<Attributes>({
  operation: 'residualRmsNorm',
  kernels: [XgResidualRmsNorm, XgAddRmsNormGrad],
  differentiable: ['residual', 'weight'],
  usesMatmulPrecision: false,
  cases: [
    residualRmsNormCase(1, 1),
    residualRmsNormCase(17, 33),
    residualRmsNormCase(33, 256),
    residualRmsNormCase(9, 40, 'normalized'),
  ],
  benchmark: () => residualRmsNormCase(2048, 256),
  run: (inputs, { epsilon, used }) => {
    const { normalized, residual } = residualRmsNorm(inputs.residual, inputs.weight, { epsilon });
    // Not the given tensor itself, which the suite disposes of apart.
    return used === 'both' ? [normalized, add(residual, mul(residual, 0.5))] : [normalized];
  },
  reference: ({ residual, weight }, { epsilon, used }) => {
    const normalized = referenceRmsNorm(residual, weight, epsilon);
    return used === 'both' ? [normalized, Float64Array.from(residual.values, (value) => 1.5 * value)] : [normalized];
  },
  failures: [
    {
      name: 'a weight of another width',
      call: () => residualRmsNorm(zeros([2, 4]), zeros([3]), { epsilon: 1e-5 }),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'an integer stream',
      call: () => residualRmsNorm(zeros([2, 4], 'int32'), zeros([4]), { epsilon: 1e-5 }),
      code: 'WRONG_DTYPE',
    },
  ],
});
