import { tensor1d, zeros } from '@tensorflow/tfjs-core';
import { documents, type HostTensor, normal } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgAttention, XgAttentionGrad } from '../kernel-names';
import { type AttentionShape, groupedQueryAttention } from './grouped-query-attention';

function attentionCase(lengths: number[], shape: AttentionShape): OperationCase<AttentionShape> {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const { queryHeads, keyValueHeads, headDimension, scale } = shape;
  return {
    name: `documents of ${lengths.join(', ')}; ${queryHeads}/${keyValueHeads} heads of ${headDimension}${scale === undefined ? '' : `, scale ${scale}`}`,
    inputs: {
      qkv: normal([tokens, (queryHeads + 2 * keyValueHeads) * headDimension], 1),
      cumulativeLengths: documents(...lengths),
    },
    attributes: shape,
  };
}

/** One query at a time: scores, softmax, mixture. `keyRow(i)` and `valueRow(i)` find visible token i of the query's document. */
export function referenceQuery(
  query: ArrayLike<number>,
  visible: number,
  key: (token: number, element: number) => number,
  value: (token: number, element: number) => number,
  scale: number,
): Float64Array {
  const scores = new Float64Array(visible);
  for (let token = 0; token < visible; token++) {
    let score = 0;
    for (let i = 0; i < query.length; i++) score += query[i] * key(token, i);
    scores[token] = score * scale;
  }
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = scores.map((score) => Math.exp(score - largest));
  const total = weights.reduce((a, b) => a + b, 0);
  const mixed = new Float64Array(query.length);
  for (let token = 0; token < visible; token++) {
    const share = weights[token] / total;
    for (let i = 0; i < query.length; i++) mixed[i] += share * value(token, i);
  }
  return mixed;
}

function referenceAttention(qkv: HostTensor, lengths: HostTensor, shape: AttentionShape): Float64Array {
  const { queryHeads, keyValueHeads, headDimension } = shape;
  const scale = shape.scale ?? 1 / Math.sqrt(headDimension);
  const [tokens, width] = qkv.shape;
  const packed = qkv.values as Float64Array;
  const out = new Float64Array(tokens * queryHeads * headDimension);
  for (let document = 0; document + 1 < lengths.values.length; document++) {
    const start = lengths.values[document];
    for (let token = start; token < lengths.values[document + 1]; token++) {
      for (let head = 0; head < queryHeads; head++) {
        const keyHead = queryHeads + Math.floor((head * keyValueHeads) / queryHeads);
        const at = (row: number, packedHead: number, element: number): number =>
          packed[row * width + packedHead * headDimension + element];
        const mixed = referenceQuery(
          Float64Array.from({ length: headDimension }, (_, i) => at(token, head, i)),
          token - start + 1,
          (i, element) => at(start + i, keyHead, element),
          (i, element) => at(start + i, keyHead + keyValueHeads, element),
          scale,
        );
        out.set(mixed, (token * queryHeads + head) * headDimension);
      }
    }
  }
  return out;
}

const small: AttentionShape = { queryHeads: 2, keyValueHeads: 1, headDimension: 4 };
const lengths = (...values: number[]) => tensor1d(values, 'int32');

export const groupedQueryAttentionOperation = declareOperation<AttentionShape>({
  operation: 'groupedQueryAttention',
  kernels: [XgAttention, XgAttentionGrad],
  differentiable: ['qkv'],
  usesMatmulPrecision: true,
  cases: [
    attentionCase([1], { queryHeads: 1, keyValueHeads: 1, headDimension: 8 }),
    attentionCase([7, 1, 12], { queryHeads: 4, keyValueHeads: 2, headDimension: 8 }),
    attentionCase([1, 1, 1], { queryHeads: 2, keyValueHeads: 2, headDimension: 16 }),
    attentionCase([0, 9, 0, 4], { queryHeads: 8, keyValueHeads: 1, headDimension: 16, scale: 0.5 }),
    attentionCase([33], { queryHeads: 3, keyValueHeads: 3, headDimension: 64 }),
    attentionCase([5, 18], { queryHeads: 6, keyValueHeads: 2, headDimension: 128 }),
    { ...attentionCase([261, 3, 70], { queryHeads: 4, keyValueHeads: 2, headDimension: 64 }), large: true },
    { ...attentionCase([261, 3, 70], { queryHeads: 6, keyValueHeads: 2, headDimension: 128 }), large: true },
    { ...attentionCase([193, 0, 1, 128], { queryHeads: 2, keyValueHeads: 2, headDimension: 128 }), large: true },
    attentionCase([67], { queryHeads: 2, keyValueHeads: 1, headDimension: 32 }),
    attentionCase([], { queryHeads: 2, keyValueHeads: 1, headDimension: 4 }),
    attentionCase([6], { queryHeads: 2, keyValueHeads: 1, headDimension: 10 }),
  ],
  benchmark: () =>
    attentionCase(
      Array.from({ length: 8 }, () => 256),
      { queryHeads: 8, keyValueHeads: 4, headDimension: 32 },
    ),
  run: ({ qkv, cumulativeLengths }, shape) => [groupedQueryAttention(qkv, cumulativeLengths, shape)],
  reference: ({ qkv, cumulativeLengths }, shape) => [referenceAttention(qkv, cumulativeLengths, shape)],
  failures: [
    {
      name: 'heads that do not divide',
      call: () => groupedQueryAttention(zeros([2, 28]), lengths(0, 2), { ...small, queryHeads: 3, keyValueHeads: 2 }),
      code: 'WRONG_OPTION',
    },
    {
      name: 'a row of the wrong width',
      call: () => groupedQueryAttention(zeros([2, 12]), lengths(0, 2), small),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'float lengths',
      call: () => groupedQueryAttention(zeros([2, 16]), tensor1d([0, 2]), small),
      code: 'WRONG_DTYPE',
    },
    ...[
      { name: 'lengths that do not start with 0', values: [1, 2] },
      { name: 'lengths that fall', values: [0, 2, 1, 2] },
      { name: 'lengths that end early', values: [0, 1] },
      { name: 'lengths that end late', values: [0, 3] },
      { name: 'no lengths', values: [] },
    ].map(({ name, values }) => ({
      name,
      call: () => groupedQueryAttention(zeros([2, 16]), lengths(...values), small),
      code: 'BROKEN_CUMULATIVE_LENGTHS',
      readsValues: true,
    })),
  ],
});
