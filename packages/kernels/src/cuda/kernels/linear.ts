/**
 * The linear layer and its gradients. The weight's gradient is summed in float32 and stored as the activations are, as PyTorch's autocast
 * does: it is rounded once, and costs half the bytes when it is written, measured and applied.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import * as names from '../../kernel-names';
import { KernelsError } from '../../kernels-error';
import { checkInfos } from '../../native/check-infos';
import type { CudaBackend } from '../cuda-backend';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { float32, type FloatingType } from '../physical-type';

/** y = x · weightᵀ with what may go into its kernel. */
function product(
  backend: CudaBackend,
  { x, weight, residual, norm }: names.XgLinearInputs & { residual?: TensorInfo; norm?: TensorInfo },
  { type = backend.activationType, epsilon = 0 }: { type?: FloatingType; epsilon?: number } = {},
): TensorInfo {
  const { N, I, O } = checkInfos(['x', x, 'float32', 'N', 'I'], ['weight', weight, 'float32', 'O', 'I']);
  if (residual !== undefined) checkInfos(['residual', residual, 'float32', N, O]);
  if (norm !== undefined) checkInfos(['norm', norm, 'float32', I]);
  const y = backend.create([N, O], type);
  const source = backend.arrayAs(x, backend.activationType);
  const added = residual === undefined ? 0 : backend.arrayAs(residual, type);
  const normWeight = norm === undefined ? 0 : backend.array(norm);
  backend.addon.linear(N, O, I, epsilon, source, normWeight, backend.weight(weight), added, y.handle);
  return y.info;
}

const linear = defineKernel<names.XgLinearInputs, names.XgLinearAttrs>(
  names.XgLinear,
  (inputs, { float32Output = false }, backend) => [
    product(backend, inputs, { type: float32Output ? float32 : backend.activationType }),
  ],
);

const linearAdd = defineKernel<names.XgLinearAddInputs>(names.XgLinearAdd, (inputs, _, backend) => [
  product(backend, inputs),
]);

function gatedProduct(
  backend: CudaBackend,
  { x, weight, norm }: names.XgLinearSwigluInputs & { norm?: TensorInfo },
  epsilon: number,
): TensorInfo {
  const { N, I, W } = checkInfos(['x', x, 'float32', 'N', 'I'], ['weight', weight, 'float32', 'W', 'I']);
  if (W % 2 !== 0) throw new KernelsError('WRONG_SHAPE', `weight has ${W} rows, an odd number.`, { value: W });
  if (norm !== undefined) checkInfos(['norm', norm, 'float32', I]);
  const type = backend.activationType;
  const y = backend.create([N, W / 2], type);
  const normWeight = norm === undefined ? 0 : backend.array(norm);
  const source = backend.arrayAs(x, type);
  backend.addon.linearSwiglu(N, W / 2, I, epsilon, source, normWeight, backend.weight(weight), y.handle);
  return y.info;
}

const linearSwiglu = defineKernel<names.XgLinearSwigluInputs>(names.XgLinearSwiglu, (inputs, _, backend) => [
  gatedProduct(backend, inputs, 0),
]);

const rmsNormLinear = defineKernel<names.XgRmsNormLinearInputs, names.XgRmsNormLinearAttrs>(
  names.XgRmsNormLinear,
  (inputs, { epsilon, gated }, backend) => [
    gated ? gatedProduct(backend, inputs, epsilon) : product(backend, inputs, { epsilon }),
  ],
);

const linearGrad = defineKernel<names.XgLinearGradInputs, names.XgLinearGradAttrs>(
  names.XgLinearGrad,
  ({ x, weight, dy }, { needs: [needsX, needsWeight] = [true, true] }, backend) => {
    const { N, I, O } = checkInfos(
      ['x', x, 'float32', 'N', 'I'],
      ['weight', weight, 'float32', 'O', 'I'],
      ['dy', dy, 'float32', 'N', 'O'],
    );
    const type = backend.activationType;
    const dx = needsX ? backend.create([N, I], type) : undefined;
    const dWeight = needsWeight ? backend.create([O, I], type) : undefined;
    const gradient = backend.arrayAs(dy, type);
    if (dx !== undefined) {
      backend.addon.matMul(1, false, false, N, I, O, false, false, gradient, backend.weight(weight), dx.handle);
    }
    if (dWeight !== undefined) {
      backend.addon.matMul(1, false, false, O, I, N, true, false, gradient, backend.arrayAs(x, type), dWeight.handle);
    }
    return [dx, dWeight].flatMap((output) => (output === undefined ? [] : [output.info]));
  },
);

export const linearKernels: readonly CudaKernel[] = [linear, linearAdd, linearSwiglu, rmsNormLinear, linearGrad];
