/**
 * tfjs's `matMul`, in the form the active backend is fast at.
 *
 * tfjs's WebAssembly backend has a fast kernel for one plain product only; with a transposed operand or a batch it is about ten times
 * slower. There, operands are transposed first and batches taken one by one.
 */
import { engine, matMul, stack, type Tensor, tidy, transpose, unstack } from '@tensorflow/tfjs-core';

/** a · b over the last two axes, either of them transposed first; differentiable. */
export function matrixProduct(a: Tensor, b: Tensor, transposeA = false, transposeB = false): Tensor {
  if (engine().backendName !== 'wasm') return matMul(a, b, transposeA, transposeB);
  return tidy(() => {
    const left = transposeA ? swapLastAxes(a) : a;
    const right = transposeB ? swapLastAxes(b) : b;
    const batched = left.rank === 3 && right.rank === 3 && left.shape[0] === right.shape[0] && left.shape[0] > 1;
    if (!batched) return matMul(left, right);
    const rights = unstack(right);
    return stack(unstack(left).map((one, i) => matMul(one, rights[i])));
  });
}

function swapLastAxes(tensor: Tensor): Tensor {
  const axes = Array.from({ length: tensor.rank - 2 }, (_, axis) => axis);
  return transpose(tensor, [...axes, tensor.rank - 1, tensor.rank - 2]);
}
