import { type Tensor, tensor1d, type Variable, variable } from '@tensorflow/tfjs-core';
import { integers } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgIncrement } from '../kernel-names';
import { increment } from './increment';

interface Attributes {
  by: number;
  /** How many of them at once: the second is the first plus 1, and so on. */
  variables: number;
}

function incrementCase(values: number[], by: number, variables = 1): OperationCase<Attributes> {
  return {
    name: `${values.slice(0, 4).join(', ')}${values.length > 4 ? ', …' : ''} by ${by}${variables > 1 ? `, ${variables} at once` : ''}`,
    inputs: { counters: integers([values.length], values) },
    attributes: { by, variables },
  };
}

function incrementOf(values: number[], dtype: 'float32' | 'int32', by: number): void {
  const own = variable(tensor1d(values, dtype), false);
  try {
    increment(own, by);
  } finally {
    own.dispose();
  }
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i * 37);

export const incrementOperation = declareOperation<Attributes>({
  operation: 'increment',
  kernels: [XgIncrement],
  differentiable: [],
  usesMatmulPrecision: false,
  tolerance: 0,
  changesInPlace: true,
  cases: [
    incrementCase([0], 1),
    incrementCase([5, 16777217, -3], 1),
    incrementCase([7, 100], -9),
    incrementCase(range(700), 16777219),
    incrementCase([], 1),
    incrementCase([3, -9, 5], 2, 3),
    incrementCase(range(300), -1, 19),
  ],
  benchmark: () => incrementCase(range(32), 1, 3),
  run: ({ counters }, { by, variables }) => {
    const values = counters.dataSync<'int32'>();
    const all = Array.from({ length: variables }, (_, i) =>
      variable(
        tensor1d(
          values.map((value) => value + i),
          'int32',
        ),
        false,
      ),
    );
    increment(variables === 1 ? all[0] : all, by);
    return all;
  },
  reference: ({ counters }, { by, variables }) =>
    Array.from({ length: variables }, (_, i) => Float64Array.from(counters.values, (value) => value + i + by)),
  failures: [
    {
      name: 'float32',
      call: () => incrementOf([1, 2], 'float32', 1),
      code: 'WRONG_DTYPE',
    },
    {
      name: 'two lengths',
      call: () => {
        const both = [[1], [1, 2]].map((values) => variable(tensor1d(values, 'int32'), false));
        try {
          increment(both);
        } finally {
          both.forEach((one) => one.dispose());
        }
      },
      code: 'WRONG_SHAPE',
    },
    {
      name: 'a tensor that is no variable',
      call: () => increment(tensor1d([1], 'int32') as Tensor as Variable),
      code: 'WRONG_OPTION',
    },
    {
      name: 'half a step',
      call: () => incrementOf([1, 2], 'int32', 0.5),
      code: 'WRONG_OPTION',
    },
  ],
});
