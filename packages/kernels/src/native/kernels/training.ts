/** Cross-entropy from hidden states, the optimizer, the gradient norm, and sampling. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import * as names from '../../kernel-names';
import { KernelsError } from '../../kernels-error';
import { checkInfos } from '../check-infos';
import { defineKernel, type NativeKernel } from '../kernel-definition';

const linearCrossEntropy = defineKernel<names.XgLinearCrossEntropyInputs, names.XgLinearCrossEntropyAttrs>(
  names.XgLinearCrossEntropy,
  ({ hidden, weight, targets }, { ignoreIndex }, backend) => {
    const { N, D, V } = checkInfos(
      ['hidden', hidden, 'float32', 'N', 'D'],
      ['weight', weight, 'float32', 'V', 'D'],
      ['targets', targets, 'int32', 'N'],
    );
    const logProbabilities = backend.emptyFloats([N]);
    const logSumExp = backend.emptyFloats([N]);
    backend.addon.linearCrossEntropy(
      N,
      D,
      V,
      ignoreIndex,
      backend.matmulPrecision === 'bfloat16',
      backend.floats(hidden),
      backend.floats(weight),
      backend.integers(targets),
      logProbabilities.array,
      logSumExp.array,
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
    const dHidden = needsX ? backend.emptyFloats([N, D]) : undefined;
    const dWeight = needsW ? backend.emptyFloats([V, D]) : undefined;
    backend.addon.linearCrossEntropyGrad(
      N,
      D,
      V,
      ignoreIndex,
      backend.matmulPrecision === 'bfloat16',
      backend.floats(hidden),
      backend.floats(weight),
      backend.integers(targets),
      backend.floats(logSumExp),
      backend.floats(dy),
      dHidden?.array ?? null,
      dWeight?.array ?? null,
    );
    return [dHidden, dWeight].flatMap((output) => (output === undefined ? [] : [output.info]));
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

const adamW = defineKernel<names.XgAdamWInputs, names.XgAdamWAttrs>(names.XgAdamW, (inputs, attributes, backend) => {
  const { count, learningRate, beta1, beta2, epsilon, weightDecay, step } = attributes;
  const parameters = numbered(inputs, 'parameter', count);
  const gradients = numbered(inputs, 'gradient', count);
  const firstMoments = numbered(inputs, 'firstMoment', count);
  const secondMoments = numbered(inputs, 'secondMoment', count);
  checkInfos(['gradientScale', inputs.gradientScale, 'float32']);
  if (weightDecay.length !== count) {
    throw new KernelsError('WRONG_OPTION', `weightDecay has ${weightDecay.length} entries for ${count} parameters.`);
  }
  parameters.forEach(({ shape }, index) => {
    for (const [name, list] of Object.entries({ gradients, firstMoments, secondMoments })) {
      checkInfos([`${name}[${index}]`, list[index], 'float32', ...shape]);
    }
  });
  const gradientScale = backend.floats(inputs.gradientScale)[0];
  // Nothing is written until every array is at hand: an error leaves all parameters as they were.
  backend.addon.adamW(
    learningRate,
    beta1,
    beta2,
    epsilon,
    gradientScale,
    1 - beta1 ** step,
    1 - beta2 ** step,
    Float32Array.from(weightDecay),
    parameters.map((info) => backend.writableFloats(info)),
    gradients.map((info) => backend.floats(info)),
    firstMoments.map((info) => backend.writableFloats(info)),
    secondMoments.map((info) => backend.writableFloats(info)),
  );
  return [];
});

const globalNorm = defineKernel<names.XgGlobalNormInputs, names.XgGlobalNormAttrs>(
  names.XgGlobalNorm,
  (inputs, { count, maximumNorm }, backend) => {
    const gradients = numbered(inputs, 'gradient', count).map((info) => backend.floats(info));
    const norm = backend.addon.globalNorm(gradients);
    const outputs = [backend.emptyFloats([]), backend.emptyFloats([])];
    outputs[0].array[0] = norm;
    outputs[1].array[0] = norm > maximumNorm ? maximumNorm / norm : Number.isNaN(norm) ? NaN : 1;
    return outputs.map(({ info }) => info);
  },
);

const sampleTokens = defineKernel<names.XgSampleTokensInputs>(names.XgSampleTokens, (inputs, _, backend) => {
  const { logits, temperature, topK, topP, minP, uniforms } = inputs;
  const { B, V } = checkInfos(
    ['logits', logits, 'float32', 'B', 'V'],
    ['temperature', temperature, 'float32', 'B'],
    ['topK', topK, 'int32', 'B'],
    ['topP', topP, 'float32', 'B'],
    ['minP', minP, 'float32', 'B'],
    ['uniforms', uniforms, 'float32', 'B'],
  );
  const ids = backend.emptyIntegers([B]);
  const logProbabilities = backend.emptyFloats([B]);
  backend.addon.sampleTokens(
    B,
    V,
    backend.floats(logits),
    backend.floats(temperature),
    backend.integers(topK),
    backend.floats(topP),
    backend.floats(minP),
    backend.floats(uniforms),
    ids.array,
    logProbabilities.array,
  );
  return [ids.info, logProbabilities.info];
});

export const trainingKernels: readonly NativeKernel[] = [
  linearCrossEntropy,
  linearCrossEntropyGrad,
  adamW,
  globalNorm,
  sampleTokens,
];
