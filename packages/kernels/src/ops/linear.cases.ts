import { zeros } from '@tensorflow/tfjs-core';
import { floats, normal, type HostTensor } from '../conformance/host-tensor';
import { declareOperation, type NoAttributes, type OperationCase } from '../conformance/operation-declaration';
import { XgLinear, XgLinearAdd, XgLinearGrad } from '../kernel-names';
import { linear } from './linear';

function linearCase(tokens: number, input: number, output: number): OperationCase<NoAttributes> {
  return {
    name: `N ${tokens}, in ${input}, out ${output}`,
    inputs: { x: normal([tokens, input], 1), weight: normal([output, input], 2, 1 / Math.sqrt(input)) },
    attributes: {},
  };
}

/**
 * x · weightᵀ, one inner product an element. Most of the suite's time is here: four columns at once, which need not wait for each other's
 * sums, take half the time of one after the other. Each sum's order is that of its elements.
 */
export function referenceLinear(x: HostTensor, weight: HostTensor): Float64Array {
  const [rows, width] = x.shape;
  const columns = weight.shape[0];
  const of = weight.values as Float64Array;
  const y = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const own = (x.values as Float64Array).subarray(row * width, (row + 1) * width);
    const to = y.subarray(row * columns, (row + 1) * columns);
    let column = 0;
    for (; column + 4 <= columns; column += 4) {
      const first = column * width;
      const second = first + width;
      const third = second + width;
      const fourth = third + width;
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      for (let i = 0; i < width; i++) {
        const value = own[i];
        a += value * of[first + i];
        b += value * of[second + i];
        c += value * of[third + i];
        d += value * of[fourth + i];
      }
      to[column] = a;
      to[column + 1] = b;
      to[column + 2] = c;
      to[column + 3] = d;
    }
    for (; column < columns; column++) {
      for (let i = 0; i < width; i++) to[column] += own[i] * of[column * width + i];
    }
  }
  return y;
}

export const linearOperation = declareOperation<NoAttributes>({
  operation: 'linear',
  kernels: [XgLinear, XgLinearGrad],
  differentiable: ['x', 'weight'],
  usesMatmulPrecision: true,
  cases: [
    linearCase(1, 1, 1),
    linearCase(1, 64, 8),
    linearCase(7, 5, 3),
    linearCase(1, 200, 50),
    linearCase(2, 64, 17),
    linearCase(5, 72, 33),
    linearCase(8, 136, 40),
    linearCase(9, 72, 131),
    linearCase(32, 264, 70),
    { ...linearCase(16, 200, 257), large: true },
    { ...linearCase(24, 4168, 20), large: true },
    linearCase(33, 65, 17),
    linearCase(15, 31, 97),
    linearCase(64, 128, 96),
    linearCase(29, 300, 50),
    { ...linearCase(130, 700, 333), large: true },
    { name: 'no rows', inputs: { x: floats([0, 4], []), weight: normal([3, 4], 3) }, attributes: {} },
  ],
  benchmark: () => linearCase(2048, 256, 1408),
  run: ({ x, weight }) => [linear(x, weight)],
  reference: ({ x, weight }) => [referenceLinear(x, weight)],
  failures: [
    { name: 'a transposed weight', call: () => linear(zeros([2, 4]), zeros([4, 3])), code: 'WRONG_SHAPE' },
    { name: 'an integer weight', call: () => linear(zeros([2, 4]), zeros([3, 4], 'int32')), code: 'WRONG_DTYPE' },
    { name: 'a batch axis', call: () => linear(zeros([1, 2, 4]), zeros([3, 4])), code: 'WRONG_SHAPE' },
  ],
});

/** Logits, which `cuda` stores in float32 whatever else it stores in less. */
export const linearFloat32Operation = declareOperation<NoAttributes>({
  operation: 'linear in float32',
  kernels: [XgLinear],
  differentiable: ['x', 'weight'],
  usesMatmulPrecision: true,
  cases: [
    linearCase(1, 64, 33),
    linearCase(9, 72, 131),
    { ...linearCase(20, 200, 258), large: true },
    linearCase(33, 65, 17),
  ],
  benchmark: () => linearCase(32, 256, 4096),
  run: ({ x, weight }) => [linear(x, weight, { float32Output: true })],
  reference: ({ x, weight }) => [referenceLinear(x, weight)],
  failures: [
    {
      name: 'a transposed weight',
      call: () => linear(zeros([2, 4]), zeros([4, 3]), { float32Output: true }),
      code: 'WRONG_SHAPE',
    },
  ],
});

function linearAddCase(tokens: number, input: number, output: number): OperationCase<NoAttributes> {
  const { name, inputs } = linearCase(tokens, input, output);
  return { name, inputs: { ...inputs, residual: normal([tokens, output], 3) }, attributes: {} };
}

export const linearAddOperation = declareOperation<NoAttributes>({
  operation: 'linear with a residual',
  kernels: [XgLinearAdd, XgLinearGrad],
  differentiable: ['x', 'weight', 'residual'],
  usesMatmulPrecision: true,
  cases: [
    linearAddCase(1, 1, 1),
    linearAddCase(7, 5, 3),
    linearAddCase(2, 64, 17),
    linearAddCase(9, 200, 129),
    linearAddCase(32, 264, 70),
    { ...linearAddCase(16, 4104, 24), large: true },
    linearAddCase(33, 65, 17),
    linearAddCase(67, 128, 96),
  ],
  benchmark: () => linearAddCase(2048, 704, 256),
  run: ({ x, weight, residual }) => [linear(x, weight, { residual })],
  reference: ({ x, weight, residual }) => [referenceLinear(x, weight).map((value, i) => value + residual.values[i])],
  failures: [
    {
      name: 'a residual of another shape',
      call: () => linear(zeros([2, 4]), zeros([3, 4]), { residual: zeros([2, 4]) }),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'an integer residual',
      call: () => linear(zeros([2, 4]), zeros([3, 4]), { residual: zeros([2, 3], 'int32') }),
      code: 'WRONG_DTYPE',
    },
  ],
});
