/** The linear layer and its gradients. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import * as names from '../../kernel-names';
import { checkInfos } from '../check-infos';
import { defineKernel, type NativeKernel } from '../kernel-definition';
import type { NativeBackend } from '../native-backend';
import { addInto } from './stock-arithmetic';

/** Up to here (decoding) packing the weight costs as much as multiplying with it, so that a packed copy pays. */
const fewRows = 64;

/** x · weightᵀ as a new array. */
function product(
  x: TensorInfo,
  weight: TensorInfo,
  { N, I, O }: Record<'N' | 'I' | 'O', number>,
  backend: NativeBackend,
): { info: TensorInfo; array: Float32Array } {
  const y = backend.emptyFloats([N, O]);
  const rounded = backend.matmulPrecision === 'bfloat16';
  const packed = N <= fewRows ? backend.packedWeight(weight) : undefined;
  if (packed !== undefined) backend.addon.linearPacked(N, I, O, rounded, backend.floats(x), packed, y.array);
  else backend.addon.linear(N, I, O, rounded, backend.floats(x), backend.floats(weight), y.array);
  return y;
}

const linear = defineKernel<names.XgLinearInputs>(names.XgLinear, ({ x, weight }, _, backend) => {
  const { N, I, O } = checkInfos(['x', x, 'float32', 'N', 'I'], ['weight', weight, 'float32', 'O', 'I']);
  return [product(x, weight, { N, I, O }, backend).info];
});

// One operation, so that no gradient holds, or computes again, a product that it does not read.
const linearAdd = defineKernel<names.XgLinearAddInputs>(names.XgLinearAdd, ({ x, weight, residual }, _, backend) => {
  const { N, I, O } = checkInfos(['x', x, 'float32', 'N', 'I'], ['weight', weight, 'float32', 'O', 'I']);
  checkInfos(['residual', residual, 'float32', N, O]);
  const { info, array } = product(x, weight, { N, I, O }, backend);
  addInto(array, backend.floats(residual), backend);
  return [info];
});

const linearGrad = defineKernel<names.XgLinearGradInputs, names.XgLinearGradAttrs>(
  names.XgLinearGrad,
  ({ x, weight, dy }, { needs: [needsX, needsWeight] = [true, true] }, backend) => {
    const { N, I, O } = checkInfos(
      ['x', x, 'float32', 'N', 'I'],
      ['weight', weight, 'float32', 'O', 'I'],
      ['dy', dy, 'float32', 'N', 'O'],
    );
    const dx = needsX ? backend.emptyFloats([N, I]) : undefined;
    const dWeight = needsWeight ? backend.emptyFloats([O, I]) : undefined;
    backend.addon.linearGrad(
      N,
      I,
      O,
      backend.matmulPrecision === 'bfloat16',
      backend.floats(x),
      backend.floats(weight),
      backend.floats(dy),
      dx?.array ?? null,
      dWeight?.array ?? null,
    );
    return [dx, dWeight].flatMap((output) => (output === undefined ? [] : [output.info]));
  },
);

export const linearKernels: readonly NativeKernel[] = [linear, linearAdd, linearGrad];
