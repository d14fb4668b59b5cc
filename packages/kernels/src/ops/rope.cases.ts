import { zeros } from '@tensorflow/tfjs-core';
import { documentPositions, floats, type HostTensor, integers, normal } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgRope } from '../kernel-names';
import { rope, type RopeOptions } from './rope';

function ropeCase(
  positions: HostTensor,
  { heads, rotatedHeads, headDimension, attentionScaling }: RopeOptions & { heads: number },
): OperationCase<RopeOptions> {
  const tokens = positions.shape[0];
  const half = headDimension / 2;
  return {
    name: `N ${tokens}, ${rotatedHeads} of ${heads} heads of ${headDimension}, scaling ${attentionScaling ?? 1}, last position ${positions.values.at(-1)}`,
    inputs: {
      qkv: normal([tokens, heads * headDimension], 1),
      positions,
      inverseFrequencies: floats(
        [half],
        Array.from({ length: half }, (_, i) => 10000 ** (-i / half)),
      ),
    },
    attributes: { rotatedHeads, headDimension, attentionScaling },
  };
}

/** Angles are float32 products, as in Hugging Face's implementation; all that follows is float64. */
export function referenceRope(
  qkv: HostTensor,
  positions: HostTensor,
  inverseFrequencies: HostTensor,
  { rotatedHeads, headDimension, attentionScaling = 1 }: RopeOptions,
): Float64Array {
  const [tokens, width] = qkv.shape;
  const half = headDimension / 2;
  const y = Float64Array.from(qkv.values);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < rotatedHeads; head++) {
      for (let i = 0; i < half; i++) {
        const angle = Math.fround(positions.values[token] * inverseFrequencies.values[i]);
        const first = token * width + head * headDimension + i;
        const [a, b] = [qkv.values[first], qkv.values[first + half]];
        y[first] = attentionScaling * (a * Math.cos(angle) - b * Math.sin(angle));
        y[first + half] = attentionScaling * (b * Math.cos(angle) + a * Math.sin(angle));
      }
    }
  }
  return y;
}

export const ropeOperation = declareOperation<RopeOptions>({
  operation: 'rope',
  kernels: [XgRope],
  differentiable: ['qkv'],
  usesMatmulPrecision: false,
  cases: [
    ropeCase(documentPositions(1), { heads: 1, rotatedHeads: 1, headDimension: 2 }),
    ropeCase(documentPositions(5, 1, 7), { heads: 4, rotatedHeads: 3, headDimension: 8 }),
    ropeCase(documentPositions(3), { heads: 6, rotatedHeads: 4, headDimension: 16 }),
    ropeCase(documentPositions(9), { heads: 3, rotatedHeads: 2, headDimension: 64, attentionScaling: 1.25 }),
    ropeCase(documentPositions(2), { heads: 3, rotatedHeads: 2, headDimension: 128 }),
    ropeCase(documentPositions(2), { heads: 2, rotatedHeads: 0, headDimension: 10 }),
    ropeCase(integers([4], [0, 4095, 65535, 131071]), { heads: 3, rotatedHeads: 2, headDimension: 64 }),
  ],
  benchmark: () =>
    ropeCase(documentPositions(...Array.from({ length: 8 }, () => 256)), {
      heads: 16,
      rotatedHeads: 12,
      headDimension: 32,
    }),
  run: ({ qkv, positions, inverseFrequencies }, options) => [rope(qkv, positions, inverseFrequencies, options)],
  reference: ({ qkv, positions, inverseFrequencies }, options) => [
    referenceRope(qkv, positions, inverseFrequencies, options),
  ],
  failures: [
    {
      name: 'an odd head size',
      call: () => rope(zeros([2, 6]), zeros([2], 'int32'), zeros([1]), { rotatedHeads: 1, headDimension: 3 }),
      code: 'WRONG_OPTION',
    },
    {
      name: 'more rotated heads than heads',
      call: () => rope(zeros([2, 8]), zeros([2], 'int32'), zeros([2]), { rotatedHeads: 3, headDimension: 4 }),
      code: 'WRONG_SHAPE',
    },
    {
      name: 'float positions',
      call: () => rope(zeros([2, 8]), zeros([2]), zeros([2]), { rotatedHeads: 2, headDimension: 4 }),
      code: 'WRONG_DTYPE',
    },
    {
      name: 'a position too few',
      call: () => rope(zeros([2, 8]), zeros([1], 'int32'), zeros([2]), { rotatedHeads: 2, headDimension: 4 }),
      code: 'WRONG_SHAPE',
    },
  ],
});
