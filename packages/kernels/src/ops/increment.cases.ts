import { tensor1d, variable } from '@tensorflow/tfjs-core';
import { integers } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgIncrement } from '../kernel-names';
import { increment } from './increment';

function incrementCase(values: number[], by: number): OperationCase<{ by: number }> {
  return {
    name: `${values.slice(0, 4).join(', ')}${values.length > 4 ? ', …' : ''} by ${by}`,
    inputs: { counters: integers([values.length], values) },
    attributes: { by },
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

export const incrementOperation = declareOperation<{ by: number }>({
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
  ],
  benchmark: () => incrementCase(range(32), 1),
  run: ({ counters }, { by }) => {
    const own = variable(tensor1d(counters.dataSync<'int32'>().slice(), 'int32'), false);
    increment(own, by);
    return [own];
  },
  reference: ({ counters }, { by }) => [Float64Array.from(counters.values, (value) => value + by)],
  failures: [
    {
      name: 'float32',
      call: () => incrementOf([1, 2], 'float32', 1),
      code: 'WRONG_DTYPE',
    },
    {
      name: 'half a step',
      call: () => incrementOf([1, 2], 'int32', 0.5),
      code: 'WRONG_OPTION',
    },
  ],
});
