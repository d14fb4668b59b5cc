/** Rows of a table. Cost: one copy of N rows; the gradient writes a whole [V,D] table. */
import { gather, registerGradient, type Tensor, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import { XgEmbedding, XgEmbeddingGrad } from '../kernel-names';
import { checkIdRange } from './check-values';
import { checkTensors } from './check-tensors';
import { hasKernel, runKernel } from './run-kernel';

registerGradient({
  kernelName: XgEmbedding,
  inputsToSave: ['ids'],
  gradFunc: (dy, saved, attributes) => ({
    weight: () =>
      runKernel(XgEmbeddingGrad, { ids: saved[0], dy: dy as Tensor }, { vocabularySize: attributes.vocabularySize })[0],
  }),
});

/**
 * Looks up one row of `weight` per id.
 *
 * weight float32 [V,D], ids int32 [N] with 0 ≤ id < V → float32 [N,D]. Differentiable with respect to `weight`; rows that occur
 * several times add up in the order of `ids`.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, OUT_OF_RANGE (an id outside the table)
 */
export function embedding(weight: Tensor, ids: Tensor): Tensor2D {
  const { V } = checkTensors('embedding', { weight: [weight, 'float32', ['V', 'D']], ids: [ids, 'int32', ['N']] });
  checkIdRange('embedding', 'ids', ids, V);
  if (hasKernel(XgEmbedding)) {
    return runKernel(XgEmbedding, { weight, ids }, { vocabularySize: V })[0] as Tensor2D;
  }
  return gather(weight as Tensor2D, ids as Tensor1D);
}
