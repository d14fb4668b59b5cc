import { zeros } from '@tensorflow/tfjs-core';
import { floats, normal } from '../conformance/host-tensor';
import { declareOperation, type NoAttributes, type OperationCase } from '../conformance/operation-declaration';
import { XgLinearSwiglu } from '../kernel-names';
import { referenceLinear } from './linear.cases';
import { linearSwiglu } from './linear-swiglu';

function gatedCase(tokens: number, input: number, width: number): OperationCase<NoAttributes> {
  return {
    name: `N ${tokens}, in ${input}, F ${width}`,
    inputs: { x: normal([tokens, input], 1), weight: normal([2 * width, input], 2, 1 / Math.sqrt(input)) },
    attributes: {},
  };
}

/** Rows of `width` gates, then as many ups → gate · sigmoid(gate) · up. */
export function referenceSwiglu(both: Float64Array, width: number): Float64Array {
  return Float64Array.from({ length: both.length / 2 }, (_, i) => {
    const row = Math.floor(i / width) * 2 * width;
    const gate = both[row + (i % width)];
    return (gate / (1 + Math.exp(-gate))) * both[row + width + (i % width)];
  });
}

export const linearSwigluOperation = declareOperation<NoAttributes>({
  operation: 'linearSwiglu',
  kernels: [XgLinearSwiglu],
  differentiable: ['x', 'weight'],
  usesMatmulPrecision: true,
  cases: [
    gatedCase(1, 1, 1),
    // So wide that a few unlucky outputs decide nothing: of 24, rounding the inputs to tf32 alone moved them by 1.2e-3.
    gatedCase(1, 64, 248),
    gatedCase(2, 72, 17),
    gatedCase(5, 31, 20),
    gatedCase(8, 136, 33),
    gatedCase(9, 72, 65),
    { ...gatedCase(17, 200, 133), large: true },
    gatedCase(32, 64, 40),
    gatedCase(33, 48, 16),
    { name: 'no rows', inputs: { x: floats([0, 4], []), weight: normal([6, 4], 3) }, attributes: {} },
  ],
  benchmark: () => gatedCase(8, 256, 704),
  run: ({ x, weight }) => [linearSwiglu(x, weight)],
  reference: ({ x, weight }) => [referenceSwiglu(referenceLinear(x, weight), weight.shape[0] / 2)],
  failures: [
    { name: 'an odd weight', call: () => linearSwiglu(zeros([2, 4]), zeros([3, 4])), code: 'WRONG_SHAPE' },
    { name: 'a transposed weight', call: () => linearSwiglu(zeros([2, 4]), zeros([6, 2])), code: 'WRONG_SHAPE' },
    { name: 'an integer weight', call: () => linearSwiglu(zeros([2, 4]), zeros([2, 4], 'int32')), code: 'WRONG_DTYPE' },
  ],
});
