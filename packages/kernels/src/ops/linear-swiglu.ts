/**
 * A matrix product and the gated activation of its result, as a decoder's feed-forward layer begins: in inference one pass over the weight
 * where the backend has it, else the two operations.
 */
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { XgLinearSwiglu } from '../kernel-names';
import { isRecording } from '../tape/engine-internals';
import { checkTensors } from './check-tensors';
import { linear } from './linear';
import { hasKernel, runKernel } from './run-kernel';
import { swiglu } from './swiglu';

/**
 * y = swiglu(linear(x, weight)), the same numbers as these two give: rows of gates come first in the weight, then rows of ups.
 *
 * x float32 [N,in], weight float32 [2F,in] → float32 [N,F]. Differentiable with respect to both.
 *
 * @throws KernelsError WRONG_SHAPE (an odd number of rows included), WRONG_DTYPE
 */
export function linearSwiglu(x: Tensor, weight: Tensor): Tensor2D {
  const { rows } = checkTensors('linearSwiglu', {
    x: [x, 'float32', ['N', 'in']],
    weight: [weight, 'float32', ['rows', 'in']],
  });
  checkGatedWeight('linearSwiglu', rows);
  if (!isRecording() && hasKernel(XgLinearSwiglu)) return runKernel(XgLinearSwiglu, { x, weight })[0] as Tensor2D;
  return swiglu(linear(x, weight));
}

export function checkGatedWeight(operation: string, rows: number): void {
  if (rows % 2 === 0) return;
  throw new KernelsError('WRONG_SHAPE', `${operation}: weight must have an even number of rows, but has ${rows}.`, {
    value: rows,
  });
}
