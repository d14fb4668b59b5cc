import { tensor1d, zeros } from '@tensorflow/tfjs-core';
import { integers, normal, randomIds } from '../conformance/host-tensor';
import { declareOperation, type NoAttributes, type OperationCase } from '../conformance/operation-declaration';
import { XgEmbedding, XgEmbeddingGrad } from '../kernel-names';
import { embedding } from './embedding';

function embeddingCase(vocabularySize: number, width: number, tokens: number): OperationCase<NoAttributes> {
  return {
    name: `V ${vocabularySize}, D ${width}, N ${tokens}`,
    inputs: { weight: normal([vocabularySize, width], 1), ids: randomIds(tokens, vocabularySize, 2) },
    attributes: {},
  };
}

export const embeddingOperation = declareOperation<NoAttributes>({
  operation: 'embedding',
  kernels: [XgEmbedding, XgEmbeddingGrad],
  differentiable: ['weight'],
  usesMatmulPrecision: false,
  cases: [
    embeddingCase(1, 1, 1),
    embeddingCase(7, 5, 1),
    embeddingCase(13, 33, 64),
    embeddingCase(300, 64, 129),
    {
      name: 'first and last row',
      inputs: { weight: normal([9, 16], 3), ids: integers([4], [0, 8, 8, 0]) },
      attributes: {},
    },
    { name: 'no tokens', inputs: { weight: normal([9, 16], 3), ids: integers([0], []) }, attributes: {} },
  ],
  benchmark: () => embeddingCase(8192, 256, 2048),
  run: ({ weight, ids }) => [embedding(weight, ids)],
  reference: ({ weight, ids }) => {
    const width = weight.shape[1];
    return [
      Float64Array.from({ length: ids.values.length * width }, (_, i) => {
        return weight.values[ids.values[Math.floor(i / width)] * width + (i % width)];
      }),
    ];
  },
  failures: [
    {
      name: 'an id beyond the table',
      call: () => embedding(zeros([4, 3]), tensor1d([0, 4], 'int32')),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    {
      name: 'a negative id',
      call: () => embedding(zeros([4, 3]), tensor1d([-1], 'int32')),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    { name: 'float ids', call: () => embedding(zeros([4, 3]), tensor1d([0, 1], 'float32')), code: 'WRONG_DTYPE' },
    { name: 'ids of two axes', call: () => embedding(zeros([4, 3]), zeros([2, 2], 'int32')), code: 'WRONG_SHAPE' },
  ],
});
