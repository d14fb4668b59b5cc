import { tensor1d, tensor2d, zeros } from '@tensorflow/tfjs-core';
import { documents, type HostTensor, integers, normal } from '../conformance/host-tensor';
import { type CaseInputs, declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgPagedAttention } from '../kernel-names';
import { type AttentionShape } from './grouped-query-attention';
import { referenceQuery } from './grouped-query-attention.cases';
import { pagedAttention } from './paged-attention';

type Shape = AttentionShape & { blockSize: number };

interface Sequence {
  queries: number;
  context: number;
}

/** Blocks are handed out from the end of the pool, alternating between sequences, so that no table is a plain range. */
function pagedCase(sequences: Sequence[], shape: Shape): OperationCase<Shape> {
  const { queryHeads, keyValueHeads, headDimension, blockSize } = shape;
  const blocksOf = sequences.map(({ context }) => Math.ceil(context / blockSize));
  const maximumBlocks = Math.max(1, ...blocksOf);
  const blocks = blocksOf.reduce((a, b) => a + b, 0) + 2;
  const tables = new Int32Array(sequences.length * maximumBlocks).fill(-1);
  let next = blocks - 1;
  for (let block = 0; block < maximumBlocks; block++) {
    blocksOf.forEach((count, sequence) => {
      if (block < count) tables[sequence * maximumBlocks + block] = next--;
    });
  }
  const cache = [blocks * blockSize, keyValueHeads * headDimension];
  const lengths = documents(...sequences.map(({ queries }) => queries));
  return {
    name:
      `queries/context ${sequences.map(({ queries, context }) => `${queries}/${context}`).join(', ')}; ` +
      `${queryHeads}/${keyValueHeads} heads of ${headDimension}, blocks of ${blockSize}`,
    inputs: {
      qkv: normal([lengths.values.at(-1) ?? 0, (queryHeads + 2 * keyValueHeads) * headDimension], 1),
      keyCache: normal(cache, 2),
      valueCache: normal(cache, 3),
      cumulativeQueryLengths: lengths,
      contextLengths: integers(
        [sequences.length],
        sequences.map(({ context }) => context),
      ),
      blockTables: integers([sequences.length, maximumBlocks], tables),
    },
    attributes: shape,
  };
}

function reference(inputs: CaseInputs, shape: Shape): Float64Array {
  const { queryHeads, keyValueHeads, headDimension, blockSize } = shape;
  const { qkv, keyCache, valueCache, cumulativeQueryLengths: lengths, contextLengths, blockTables } = inputs;
  const scale = shape.scale ?? 1 / Math.sqrt(headDimension);
  const out = new Float64Array(qkv.shape[0] * queryHeads * headDimension);
  contextLengths.values.forEach((context, sequence) => {
    const [start, end] = [lengths.values[sequence], lengths.values[sequence + 1]];
    for (let token = start; token < end; token++) {
      for (let head = 0; head < queryHeads; head++) {
        const keyHead = Math.floor((head * keyValueHeads) / queryHeads);
        const cached = (cache: HostTensor, position: number, element: number): number => {
          const block = blockTables.values[sequence * blockTables.shape[1] + Math.floor(position / blockSize)];
          const row = block * blockSize + (position % blockSize);
          return cache.values[(row * keyValueHeads + keyHead) * headDimension + element];
        };
        const mixed = referenceQuery(
          Float64Array.from(
            { length: headDimension },
            (_, i) => qkv.values[token * qkv.shape[1] + head * headDimension + i],
          ),
          context - (end - start) + (token - start) + 1,
          (position, element) => cached(keyCache, position, element),
          (position, element) => cached(valueCache, position, element),
          scale,
        );
        out.set(mixed, (token * queryHeads + head) * headDimension);
      }
    }
  });
  return out;
}

export const pagedAttentionOperation = declareOperation<Shape>({
  operation: 'pagedAttention',
  kernels: [XgPagedAttention],
  differentiable: [],
  usesMatmulPrecision: true,
  cases: [
    pagedCase([{ queries: 1, context: 1 }], { queryHeads: 1, keyValueHeads: 1, headDimension: 8, blockSize: 1 }),
    pagedCase(
      [
        { queries: 1, context: 9 },
        { queries: 1, context: 16 },
        { queries: 1, context: 33 },
      ],
      { queryHeads: 4, keyValueHeads: 2, headDimension: 16, blockSize: 16 },
    ),
    pagedCase(
      [
        { queries: 5, context: 5 },
        { queries: 0, context: 4 },
        { queries: 3, context: 20 },
      ],
      { queryHeads: 8, keyValueHeads: 1, headDimension: 64, blockSize: 8, scale: 0.2 },
    ),
    pagedCase([{ queries: 2, context: 70 }], { queryHeads: 3, keyValueHeads: 3, headDimension: 128, blockSize: 16 }),
    pagedCase([{ queries: 6, context: 13 }], { queryHeads: 6, keyValueHeads: 2, headDimension: 10, blockSize: 4 }),
    // Many sequences, of uneven lengths.
    pagedCase(
      [1, 15, 16, 17, 31, 33, 47, 64, 97, 127, 128, 129, 145, 200, 257, 300, 3, 81].map((context) => ({
        queries: 1,
        context,
      })),
      { queryHeads: 8, keyValueHeads: 2, headDimension: 64, blockSize: 16 },
    ),
    // Few long ones, each done in parts.
    pagedCase(
      [
        { queries: 1, context: 1500 },
        { queries: 2, context: 700 },
      ],
      { queryHeads: 3, keyValueHeads: 1, headDimension: 128, blockSize: 16 },
    ),
  ],
  benchmark: () =>
    pagedCase(
      Array.from({ length: 16 }, () => ({ queries: 1, context: 512 })),
      { queryHeads: 8, keyValueHeads: 4, headDimension: 32, blockSize: 16 },
    ),
  run: ({ qkv, keyCache, valueCache, cumulativeQueryLengths, contextLengths, blockTables }, shape) => [
    pagedAttention(qkv, keyCache, valueCache, { cumulativeQueryLengths, contextLengths, blockTables }, shape),
  ],
  reference: (inputs, shape) => [reference(inputs, shape)],
  failures: [
    {
      name: 'a context shorter than its queries',
      call: () => attend({ context: 1 }),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    {
      name: 'a context longer than its table',
      call: () => attend({ context: 9 }),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    {
      name: 'a block outside the cache',
      call: () => attend({ blocks: [0, 3] }),
      code: 'OUT_OF_RANGE',
      readsValues: true,
    },
    {
      name: 'query lengths that end early',
      call: () => attend({ queryEnds: [0, 1] }),
      code: 'BROKEN_CUMULATIVE_LENGTHS',
      readsValues: true,
    },
    { name: 'query lengths of another batch', call: () => attend({ queryEnds: [0, 1, 2] }), code: 'WRONG_SHAPE' },
    { name: 'a block size of zero', call: () => attend({ blockSize: 0 }), code: 'WRONG_OPTION' },
  ],
});

/** Two new tokens of one sequence over a cache of three blocks of four rows, with one thing wrong. */
function attend({ context = 6, blocks = [2, 0], queryEnds = [0, 2], blockSize = 4 }): void {
  pagedAttention(
    zeros([2, 16]),
    zeros([12, 4]),
    zeros([12, 4]),
    {
      cumulativeQueryLengths: tensor1d(queryEnds, 'int32'),
      contextLengths: tensor1d([context], 'int32'),
      blockTables: tensor2d([blocks], [1, 2], 'int32'),
    },
    { queryHeads: 2, keyValueHeads: 1, headDimension: 4, blockSize },
  );
}
