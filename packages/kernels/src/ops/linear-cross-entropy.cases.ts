import { sum, tensor1d, zeros } from '@tensorflow/tfjs-core';
import { projectionWeights } from '../conformance/derivatives';
import { type HostTensor, integers, normal, randomIds } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgLinearCrossEntropy, XgLinearCrossEntropyGrad } from '../kernel-names';
import { linearCrossEntropy, type LinearCrossEntropyOptions } from './linear-cross-entropy';
import { referenceLinear } from './linear.cases';

function crossEntropyCase(
  tokens: number,
  width: number,
  vocabularySize: number,
  { ignoreEvery = 0, ignoreIndex }: { ignoreEvery?: number; ignoreIndex?: number } = {},
): OperationCase<LinearCrossEntropyOptions> {
  const targets = randomIds(tokens, vocabularySize, 3);
  if (ignoreEvery > 0) {
    for (let i = 0; i < tokens; i += ignoreEvery) targets.values[i] = ignoreIndex ?? -100;
  }
  return {
    name: `N ${tokens}, D ${width}, V ${vocabularySize}${ignoreEvery > 0 ? `, one in ${ignoreEvery} ignored (${ignoreIndex ?? -100})` : ''}`,
    inputs: {
      hidden: normal([tokens, width], 1, 2),
      weight: normal([vocabularySize, width], 2, 1 / Math.sqrt(width)),
      targets,
    },
    attributes: ignoreIndex === undefined ? {} : { ignoreIndex },
  };
}

function reference(hidden: HostTensor, weight: HostTensor, targets: HostTensor, ignoreIndex: number): Float64Array {
  const columns = weight.shape[0];
  const logits = referenceLinear(hidden, weight);
  return Float64Array.from(targets.values, (target, row) => {
    if (target === ignoreIndex) return 0;
    const rowLogits = logits.subarray(row * columns, (row + 1) * columns);
    let largest = -Infinity;
    for (const logit of rowLogits) largest = Math.max(largest, logit);
    let total = 0;
    for (const logit of rowLogits) total += Math.exp(logit - largest);
    return rowLogits[target] - largest - Math.log(total);
  });
}

/** What is summed is projected on one number: the gradient of every log-probability. */
const summed = (one: OperationCase<LinearCrossEntropyOptions>): OperationCase<LinearCrossEntropyOptions> => ({
  ...one,
  name: `${one.name}, gradient known beforehand`,
  attributes: { ...one.attributes, expectedGradient: projectionWeights(0, 1)[0] },
});

const ids = (...values: number[]) => tensor1d(values, 'int32');

export const linearCrossEntropyOperation = declareOperation<LinearCrossEntropyOptions>({
  operation: 'linearCrossEntropy',
  kernels: [XgLinearCrossEntropy, XgLinearCrossEntropyGrad],
  differentiable: ['hidden', 'weight'],
  usesMatmulPrecision: true,
  cases: [
    crossEntropyCase(1, 4, 3),
    crossEntropyCase(1, 8, 7),
    crossEntropyCase(13, 33, 50),
    crossEntropyCase(33, 16, 257, { ignoreEvery: 3 }),
    crossEntropyCase(5, 64, 1000),
    { ...crossEntropyCase(70, 96, 3000, { ignoreEvery: 7 }), large: true },
    crossEntropyCase(6, 8, 11, { ignoreEvery: 2, ignoreIndex: -1 }),
    crossEntropyCase(4, 8, 11, { ignoreEvery: 1 }),
    summed(crossEntropyCase(13, 33, 50)),
    summed(crossEntropyCase(33, 16, 257, { ignoreEvery: 3 })),
    summed({ ...crossEntropyCase(70, 96, 3000, { ignoreEvery: 7 }), large: true }),
    {
      name: 'no rows',
      inputs: { hidden: normal([0, 4], 1), weight: normal([3, 4], 3), targets: integers([0], []) },
      attributes: {},
    },
  ],
  benchmark: () => crossEntropyCase(2048, 256, 8192),
  run: ({ hidden, weight, targets }, options) => {
    const logP = linearCrossEntropy(hidden, weight, targets, options);
    return [options.expectedGradient === undefined ? logP : sum(logP)];
  },
  reference: ({ hidden, weight, targets }, { ignoreIndex = -100, expectedGradient }) => {
    const logP = reference(hidden, weight, targets, ignoreIndex);
    return [expectedGradient === undefined ? logP : Float64Array.of(logP.reduce((a, b) => a + b, 0))];
  },
  failures: [
    {
      name: 'a target beyond the vocabulary',
      call: () => linearCrossEntropy(zeros([2, 4]), zeros([3, 4]), ids(0, 3)),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    {
      name: 'a negative target that is not ignoreIndex',
      call: () => linearCrossEntropy(zeros([2, 4]), zeros([3, 4]), ids(0, -1)),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    {
      name: 'a target too few',
      call: () => linearCrossEntropy(zeros([2, 4]), zeros([3, 4]), ids(0)),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'a weight of another width',
      call: () => linearCrossEntropy(zeros([2, 4]), zeros([3, 5]), ids(0, 1)),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'float targets',
      call: () => linearCrossEntropy(zeros([2, 4]), zeros([3, 4]), tensor1d([0, 1])),
      code: 'WRONG_DTYPE',
    },
    {
      name: 'an infinite expectedGradient',
      call: () => linearCrossEntropy(zeros([2, 4]), zeros([3, 4]), ids(0, 1), { expectedGradient: Infinity }),
      code: 'WRONG_OPTION',
    },
    {
      name: 'a fractional ignoreIndex',
      call: () => linearCrossEntropy(zeros([2, 4]), zeros([3, 4]), ids(0, 1), { ignoreIndex: 0.5 }),
      code: 'WRONG_OPTION',
    },
  ],
});
