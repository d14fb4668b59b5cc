import { zeros } from '@tensorflow/tfjs-core';
import { normal } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgAddRmsNorm, XgAddRmsNormGrad } from '../kernel-names';
import { addRmsNorm } from './add-rms-norm';
import { referenceRmsNorm } from './rms-norm.cases';

interface Attributes {
  epsilon: number;
  /** Which results the caller goes on with: the gradient of the other is missing. */
  used: 'both' | 'normalized' | 'sum';
}

function addRmsNormCase(tokens: number, width: number, used: Attributes['used'] = 'both'): OperationCase<Attributes> {
  return {
    name: `N ${tokens}, D ${width}, ${used} used`,
    inputs: {
      x: normal([tokens, width], 1),
      residual: normal([tokens, width], 2, 3),
      weight: normal([width], 3, 0.5, 1),
    },
    attributes: { epsilon: 1e-5, used },
  };
}

export const addRmsNormOperation = declareOperation<Attributes>({
  operation: 'addRmsNorm',
  kernels: [XgAddRmsNorm, XgAddRmsNormGrad],
  differentiable: ['x', 'residual', 'weight'],
  usesMatmulPrecision: false,
  cases: [
    addRmsNormCase(1, 1),
    addRmsNormCase(3, 5),
    addRmsNormCase(17, 33),
    addRmsNormCase(33, 256),
    addRmsNormCase(9, 40, 'normalized'),
    addRmsNormCase(9, 40, 'sum'),
  ],
  benchmark: () => addRmsNormCase(2048, 256),
  run: ({ x, residual, weight }, { epsilon, used }) => {
    const { normalized, sum } = addRmsNorm(x, residual, weight, { epsilon });
    return used === 'both' ? [normalized, sum] : used === 'sum' ? [sum] : [normalized];
  },
  reference: ({ x, residual, weight }, { epsilon, used }) => {
    const values = Float64Array.from(x.values, (value, i) => value + residual.values[i]);
    const normalized = referenceRmsNorm({ ...x, values }, weight, epsilon);
    return used === 'both' ? [normalized, values] : used === 'sum' ? [values] : [normalized];
  },
  failures: [
    {
      name: 'a residual of another shape',
      call: () => addRmsNorm(zeros([2, 4]), zeros([3, 4]), zeros([4]), { epsilon: 1e-5 }),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'an integer residual',
      call: () => addRmsNorm(zeros([2, 4]), zeros([2, 4], 'int32'), zeros([4]), { epsilon: 1e-5 }),
      code: 'WRONG_DTYPE',
    },
  ],
});
