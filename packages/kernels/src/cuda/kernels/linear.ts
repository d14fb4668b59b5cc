/**
 * The linear layer and its gradients. The weight's gradient is summed in float32 and stored as the activations are, as PyTorch's autocast
 * does: it is rounded once, and costs half the bytes when it is written, measured and applied.
 */
import * as names from '../../kernel-names';
import { KernelsError } from '../../kernels-error';
import { checkInfos } from '../../native/check-infos';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { float32 } from '../physical-type';

const linear = defineKernel<names.XgLinearInputs, names.XgLinearAttrs>(
  names.XgLinear,
  ({ x, weight }, attributes, backend) => {
    const { N, I, O } = checkInfos(['x', x, 'float32', 'N', 'I'], ['weight', weight, 'float32', 'O', 'I']);
    const type = backend.activationType;
    const y = backend.create([N, O], attributes.float32Output ? float32 : type);
    const [source, matrix] = [backend.arrayAs(x, type), backend.weight(weight)];
    backend.addon.matMul(1, false, false, N, O, I, false, true, source, matrix, y.handle);
    return [y.info];
  },
);

const linearAdd = defineKernel<names.XgLinearAddInputs>(names.XgLinearAdd, ({ x, weight, residual }, _, backend) => {
  const { N, I, O } = checkInfos(['x', x, 'float32', 'N', 'I'], ['weight', weight, 'float32', 'O', 'I']);
  checkInfos(['residual', residual, 'float32', N, O]);
  const type = backend.activationType;
  const y = backend.create([N, O], type);
  const [source, added] = [backend.arrayAs(x, type), backend.arrayAs(residual, type)];
  backend.addon.linearAdd(N, O, I, source, backend.weight(weight), added, y.handle);
  return [y.info];
});

const linearSwiglu = defineKernel<names.XgLinearSwigluInputs>(names.XgLinearSwiglu, ({ x, weight }, _, backend) => {
  const { N, I, W } = checkInfos(['x', x, 'float32', 'N', 'I'], ['weight', weight, 'float32', 'W', 'I']);
  if (W % 2 !== 0) throw new KernelsError('WRONG_SHAPE', `weight has ${W} rows, an odd number.`, { value: W });
  const type = backend.activationType;
  const y = backend.create([N, W / 2], type);
  backend.addon.linearSwiglu(N, W / 2, I, backend.arrayAs(x, type), backend.weight(weight), y.handle);
  return [y.info];
});

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

export const linearKernels: readonly CudaKernel[] = [linear, linearAdd, linearSwiglu, linearGrad];
