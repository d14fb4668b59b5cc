/** Cross-entropy from hidden states, the optimizer, the gradient norm, sampling, and counters. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import * as names from '../../kernel-names';
import { KernelsError } from '../../kernels-error';
import { checkInfos } from '../../native/check-infos';
import type { Handle } from '../addon';
import type { CudaBackend } from '../cuda-backend';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { float32, int32, isFloating } from '../physical-type';

const increment = defineKernel<names.XgIncrementInputs, names.XgIncrementAttrs>(
  names.XgIncrement,
  (inputs, { by, count }, backend) => {
    const variables = Array.from({ length: count }, (_, i) => inputs[`variable${i}`]);
    const { N } = checkInfos(...variables.map((info, i) => [`variable${i}`, info, 'int32', 'N'] as const));
    backend.addon.increment(
      N,
      by,
      count,
      Int32Array.from(variables, (info) => backend.writable(info)),
    );
    return [];
  },
);

const linearCrossEntropy = defineKernel<names.XgLinearCrossEntropyInputs, names.XgLinearCrossEntropyAttrs>(
  names.XgLinearCrossEntropy,
  ({ hidden, weight, targets }, { ignoreIndex }, backend) => {
    const { N, D, V } = checkInfos(
      ['hidden', hidden, 'float32', 'N', 'D'],
      ['weight', weight, 'float32', 'V', 'D'],
      ['targets', targets, 'int32', 'N'],
    );
    const logProbabilities = backend.create([N], float32);
    const logSumExp = backend.create([N], float32);
    backend.addon.linearCrossEntropy(
      N,
      D,
      V,
      ignoreIndex,
      backend.arrayAs(hidden, backend.activationType),
      backend.weight(weight),
      backend.arrayAs(targets, int32),
      logProbabilities.handle,
      logSumExp.handle,
    );
    return [logProbabilities.info, logSumExp.info];
  },
);

const linearCrossEntropyGrad = defineKernel<names.XgLinearCrossEntropyGradInputs, names.XgLinearCrossEntropyGradAttrs>(
  names.XgLinearCrossEntropyGrad,
  ({ hidden, weight, targets, logSumExp, dy }, { ignoreIndex, needs: [needsX, needsW] = [true, true] }, backend) => {
    const { N, D, V } = checkInfos(
      ['hidden', hidden, 'float32', 'N', 'D'],
      ['weight', weight, 'float32', 'V', 'D'],
      ['targets', targets, 'int32', 'N'],
      ['logSumExp', logSumExp, 'float32', 'N'],
      ['dy', dy, 'float32', 'N'],
    );
    const type = backend.activationType;
    const dHidden = needsX ? backend.create([N, D], type) : undefined;
    const dWeight = needsW ? backend.create([V, D], float32) : undefined;
    backend.addon.linearCrossEntropyGrad(
      N,
      D,
      V,
      ignoreIndex,
      backend.arrayAs(hidden, type),
      backend.weight(weight),
      backend.arrayAs(targets, int32),
      backend.arrayAs(logSumExp, float32),
      backend.arrayAs(dy, float32),
      dHidden?.handle ?? 0,
      dWeight?.handle ?? 0,
    );
    return [dHidden, dWeight].flatMap((output) => (output === undefined ? [] : [output.info]));
  },
);

const linearCrossEntropyWithGradient = defineKernel<
  names.XgLinearCrossEntropyInputs,
  names.XgLinearCrossEntropyWithGradientAttrs
>(names.XgLinearCrossEntropyWithGradient, ({ hidden, weight, targets }, { ignoreIndex, expectedGradient }, backend) => {
  const { N, D, V } = checkInfos(
    ['hidden', hidden, 'float32', 'N', 'D'],
    ['weight', weight, 'float32', 'V', 'D'],
    ['targets', targets, 'int32', 'N'],
  );
  const type = backend.activationType;
  const logProbabilities = backend.create([N], float32);
  const [dHidden, dWeight] = [backend.create([N, D], type), backend.create([V, D], float32)];
  backend.addon.linearCrossEntropyWithGradient(
    N,
    D,
    V,
    ignoreIndex,
    expectedGradient,
    backend.arrayAs(hidden, type),
    backend.weight(weight),
    backend.arrayAs(targets, int32),
    logProbabilities.handle,
    dHidden.handle,
    dWeight.handle,
  );
  return [logProbabilities.info, dHidden.info, dWeight.info];
});

const expectGradient = defineKernel<names.XgExpectGradientInputs, names.XgLinearCrossEntropyWithGradientAttrs>(
  names.XgExpectGradient,
  ({ dy, targets }, { ignoreIndex, expectedGradient }, backend) => {
    const { N } = checkInfos(['dy', dy, 'float32', 'N'], ['targets', targets, 'int32', 'N']);
    const [gradient, ids] = [backend.arrayAs(dy, float32), backend.arrayAs(targets, int32)];
    backend.addon.expectGradient(N, ignoreIndex, expectedGradient, gradient, ids);
    return [];
  },
);

/** The inputs `<prefix>0` … `<prefix><count − 1>`. */
function numbered(inputs: Record<string, TensorInfo>, prefix: string, count: number): TensorInfo[] {
  return Array.from({ length: count }, (_, index) => {
    const info = inputs[`${prefix}${index}`];
    if (info === undefined) throw new KernelsError('MISSING_INPUT', `the input ${prefix}${index} is missing.`);
    if (info.dtype !== 'float32') {
      throw new KernelsError('WRONG_DTYPE', `${prefix}${index} must be float32, but is ${info.dtype}.`);
    }
    return info;
  });
}

/** The array as it is, where kernels read its type. */
function floating(info: TensorInfo, backend: CudaBackend): Handle {
  return isFloating(backend.typeOf(info)) ? backend.array(info) : backend.arrayAs(info, float32);
}

const adamW = defineKernel<names.XgAdamWInputs, names.XgAdamWAttrs>(names.XgAdamW, (inputs, attributes, backend) => {
  const { count, learningRate, beta1, beta2, epsilon, weightDecay, step } = attributes;
  const onDevice = inputs.learningRate !== undefined && inputs.step !== undefined;
  if (onDevice) checkInfos(['learningRate', inputs.learningRate, 'float32'], ['step', inputs.step, 'int32']);
  const parameters = numbered(inputs, 'parameter', count);
  const gradients = numbered(inputs, 'gradient', count);
  const firstMoments = numbered(inputs, 'firstMoment', count);
  const secondMoments = numbered(inputs, 'secondMoment', count);
  checkInfos(['gradientScale', inputs.gradientScale, 'float32']);
  if (weightDecay.length !== count) {
    throw new KernelsError('WRONG_OPTION', `weightDecay has ${weightDecay.length} entries for ${count} parameters.`);
  }
  parameters.forEach((info, index) => {
    for (const [name, list] of Object.entries({ gradients, firstMoments, secondMoments })) {
      checkInfos([`${name}[${index}]`, list[index], 'float32', ...info.shape]);
    }
    backend.store(info, float32);
  });
  const gradientHandles = gradients.map((info) => floating(info, backend));
  const moments = [firstMoments, secondMoments].map((list) => list.map((info) => backend.writable(info)));
  const written = parameters.map((info) => backend.writableWithShadow(info));
  backend.addon.adamW(
    learningRate,
    beta1,
    beta2,
    epsilon,
    1 - beta1 ** step,
    1 - beta2 ** step,
    step,
    Float32Array.from(weightDecay),
    backend.arrayAs(inputs.gradientScale, float32),
    Int32Array.from(written, ({ handle }) => handle),
    Int32Array.from(written, ({ shadow }) => shadow),
    Int32Array.from(gradientHandles),
    Int32Array.from(moments[0]),
    Int32Array.from(moments[1]),
    onDevice ? backend.arrayAs(inputs.learningRate, float32) : 0,
    onDevice ? backend.arrayAs(inputs.step, int32) : 0,
  );
  return [];
});

const globalNorm = defineKernel<names.XgGlobalNormInputs, names.XgGlobalNormAttrs>(
  names.XgGlobalNorm,
  (inputs, { count, maximumNorm }, backend) => {
    const gradients = numbered(inputs, 'gradient', count).map((info) => floating(info, backend));
    const [norm, scale] = [backend.create([], float32), backend.create([], float32)];
    backend.addon.globalNorm(maximumNorm, count, Int32Array.from(gradients), norm.handle, scale.handle);
    return [norm.info, scale.info];
  },
);

function sample(
  { logits, temperature, topK, topP, minP, uniforms }: names.XgSampleTokensInputs,
  backend: CudaBackend,
  besides?: { into: TensorInfo },
): TensorInfo[] {
  const { B, V } = checkInfos(
    ['logits', logits, 'float32', 'B', 'V'],
    ['temperature', temperature, 'float32', 'B'],
    ['topK', topK, 'int32', 'B'],
    ['topP', topP, 'float32', 'B'],
    ['minP', minP, 'float32', 'B'],
    ['uniforms', uniforms, 'float32', 'B'],
    ...(besides === undefined ? [] : [['into', besides.into, 'int32', 'B'] as const]),
  );
  const ids = backend.create([B], int32, 'int32');
  const logProbabilities = backend.create([B], float32);
  backend.addon.sampleTokens(
    B,
    V,
    floating(logits, backend),
    backend.arrayAs(temperature, float32),
    backend.arrayAs(topK, int32),
    backend.arrayAs(topP, float32),
    backend.arrayAs(minP, float32),
    backend.arrayAs(uniforms, float32),
    ids.handle,
    logProbabilities.handle,
    besides === undefined ? 0 : backend.writable(besides.into),
  );
  return [ids.info, logProbabilities.info];
}

const sampleTokens = defineKernel<names.XgSampleTokensInputs>(names.XgSampleTokens, (inputs, _, backend) =>
  sample(inputs, backend),
);

const sampleTokensInto = defineKernel<names.XgSampleTokensIntoInputs>(names.XgSampleTokensInto, (inputs, _, backend) =>
  sample(inputs, backend, inputs),
);

export const trainingKernels: readonly CudaKernel[] = [
  linearCrossEntropy,
  linearCrossEntropyGrad,
  linearCrossEntropyWithGradient,
  expectGradient,
  adamW,
  globalNorm,
  sampleTokens,
  sampleTokensInto,
  increment,
];
