/** Rotary position embedding (Su et al. 2021, arXiv 2104.09864), Hugging Face's rotate-half convention. */
import {
  add,
  cast,
  concat,
  cos,
  mul,
  outerProduct,
  type Rank,
  registerGradient,
  reshape,
  scalar,
  sin,
  slice,
  sub,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
} from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { XgRope, type XgRopeAttrs } from '../kernel-names';
import { checkInteger, checkNumber, checkTensors } from './check-tensors';
import { hasKernel, runKernel } from './run-kernel';

export interface RopeOptions {
  /** The first so many heads of a row are rotated (query and key heads), the rest copied (value heads). */
  rotatedHeads: number;
  /** Size of a head, even. */
  headDimension: number;
  /** Factor on both sine and cosine (YaRN); default 1. */
  attentionScaling?: number;
}

registerGradient({
  kernelName: XgRope,
  inputsToSave: ['positions', 'inverseFrequencies'],
  gradFunc: (dy, saved, attributes) => ({
    qkv: () =>
      runKernel(
        XgRope,
        { qkv: dy as Tensor, positions: saved[0], inverseFrequencies: saved[1] },
        { ...attributes, inverse: true },
      )[0],
  }),
});

/**
 * Turns element i < headDimension/2 and its partner i + headDimension/2 of each rotated head by
 * position · inverseFrequencies[i].
 *
 * qkv float32 [N, heads·headDimension], positions int32 [N], inverseFrequencies float32 [headDimension/2] → same shape as qkv.
 * Differentiable with respect to qkv.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION
 */
export function rope(qkv: Tensor, positions: Tensor, inverseFrequencies: Tensor, options: RopeOptions): Tensor2D {
  const { rotatedHeads, headDimension, attentionScaling = 1 } = options;
  checkInteger('rope', 'headDimension', headDimension, 2);
  checkInteger('rope', 'rotatedHeads', rotatedHeads, 0);
  checkNumber('rope', 'attentionScaling', attentionScaling);
  if (headDimension % 2 !== 0) {
    throw new KernelsError('WRONG_OPTION', `rope: headDimension must be even, but is ${headDimension}.`, {
      value: headDimension,
    });
  }
  const { width } = checkTensors('rope', {
    qkv: [qkv, 'float32', ['N', 'width']],
    positions: [positions, 'int32', ['N']],
    inverseFrequencies: [inverseFrequencies, 'float32', [headDimension / 2]],
  });
  if (width % headDimension !== 0 || width < rotatedHeads * headDimension) {
    throw new KernelsError(
      'WRONG_SHAPE',
      `rope: a row of qkv has ${width} elements, which is not a whole number of heads of ${headDimension}, at least ${rotatedHeads} of them.`,
      { value: width },
    );
  }
  if (hasKernel(XgRope)) {
    const attributes: XgRopeAttrs = { rotatedHeads, headDimension, attentionScaling, inverse: false };
    return runKernel(XgRope, { qkv, positions, inverseFrequencies }, attributes)[0] as Tensor2D;
  }
  return composedRope(qkv, positions, inverseFrequencies, rotatedHeads, headDimension, attentionScaling);
}

function composedRope(
  qkv: Tensor,
  positions: Tensor,
  inverseFrequencies: Tensor,
  rotatedHeads: number,
  headDimension: number,
  attentionScaling: number,
): Tensor2D {
  return tidy(() => {
    const [tokens, width] = qkv.shape as [number, number];
    const half = headDimension / 2;
    const rotatedWidth = rotatedHeads * headDimension;
    const angles = outerProduct(cast(positions, 'float32') as Tensor1D, inverseFrequencies as Tensor1D);
    const table = (values: Tensor): Tensor => reshape(mul(values, scalar(attentionScaling)), [tokens, 1, half]);
    const cosine = table(cos(angles));
    const sine = table(sin(angles));
    const heads = reshape(slice(qkv, [0, 0], [tokens, rotatedWidth]), [tokens, rotatedHeads, headDimension]);
    const first = slice(heads, [0, 0, 0], [tokens, rotatedHeads, half]);
    const second = slice(heads, [0, 0, half], [tokens, rotatedHeads, half]);
    const turned = concat([sub(mul(first, cosine), mul(second, sine)), add(mul(second, cosine), mul(first, sine))], 2);
    const rotated = reshape<Rank.R2>(turned, [tokens, rotatedWidth]);
    if (rotatedWidth === width) return rotated;
    return concat([rotated, slice(qkv as Tensor2D, [0, rotatedWidth], [tokens, width - rotatedWidth])], 1);
  });
}
