/**
 * AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) over all parameters in one call, in place.
 *
 * Fused: one pass over each parameter, nothing allocated. Composed: stock operations and `assign`.
 */
import {
  add,
  div,
  mul,
  type Scalar,
  scalar,
  sqrt,
  square,
  sub,
  type Tensor,
  tidy,
  type Variable,
} from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { XgAdamW, type XgAdamWAttrs } from '../kernel-names';
import { checkInteger, checkNumber, checkTensors } from './check-tensors';
import { isHostBackend } from './host-memory';
import { hasKernel, runKernel } from './run-kernel';

/** Three lists of equal length; entry i of each belongs to one parameter and has its shape. All are changed. */
export interface AdamWState {
  parameters: readonly Variable[];
  firstMoments: readonly Variable[];
  secondMoments: readonly Variable[];
}

export interface AdamWOptions {
  /**
   * A number, or a float32 scalar: on `cuda` its value is used on the device, unchecked, so that a captured step can be run with another; elsewhere it
   * is read.
   */
  learningRate: number | Scalar;
  /** 0 ≤ beta1 < 1; default 0.9. */
  beta1?: number;
  /** 0 ≤ beta2 < 1; default 0.95, as language models use it. */
  beta2?: number;
  /** Default 1e-8. */
  epsilon?: number;
  /** Decoupled decay, one number for all parameters or one each; default 0. */
  weightDecay?: number | readonly number[];
  /** Counted from 1: corrects the moments' bias. A number, or an int32 scalar that is treated as learningRate's. */
  step: number | Scalar;
  /** Factor on every gradient (from `globalNormScale`, say); default 1. */
  gradientScale?: Scalar;
}

/**
 * One step: with g = gradient · gradientScale,
 * m ← β1·m + (1−β1)·g; v ← β2·v + (1−β2)·g²; p ← p·(1 − rate·decay) − rate · m̂/(√v̂ + epsilon).
 *
 * Gradients are float32 in the parameters' shapes and order, and stay as they are. Every variable must own its data: one made from a
 * tensor that lives on shares memory with it and would change it too.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION
 */
export function adamW(state: AdamWState, gradients: readonly Tensor[], options: AdamWOptions): void {
  const onDevice = isOnDevice(options);
  const attributes = checkArguments(state, gradients, options, onDevice);
  const inputs: Record<string, Tensor> = {};
  if (hasKernel(XgAdamW)) {
    for (let i = 0; i < gradients.length; i++) {
      inputs[`parameter${i}`] = state.parameters[i]!;
      inputs[`gradient${i}`] = gradients[i]!;
      inputs[`firstMoment${i}`] = state.firstMoments[i]!;
      inputs[`secondMoment${i}`] = state.secondMoments[i]!;
    }
    tidy(() => {
      inputs.gradientScale = options.gradientScale ?? scalar(1);
      if (onDevice) {
        inputs.learningRate = asScalar(options.learningRate, 'float32');
        inputs.step = asScalar(options.step, 'int32');
      }
      runKernel(XgAdamW, inputs, attributes);
    });
    return;
  }
  gradients.forEach((gradient, i) => {
    composedStep(
      state.parameters[i],
      state.firstMoments[i],
      state.secondMoments[i],
      gradient,
      attributes,
      attributes.weightDecay[i],
      options.gradientScale,
    );
  });
}

/** Whether the learning rate and step stay where they are: one is a tensor, and a kernel takes it in memory that the host cannot reach. */
function isOnDevice({ learningRate, step }: AdamWOptions): boolean {
  if (typeof learningRate === 'number' && typeof step === 'number') return false;
  return hasKernel(XgAdamW) && !isHostBackend();
}

function asScalar(value: number | Scalar, dtype: 'float32' | 'int32'): Scalar {
  return typeof value === 'number' ? scalar(value, dtype) : value;
}

/** The number that a scalar holds. */
function numberOf(value: number | Scalar): number {
  return typeof value === 'number' ? value : value.dataSync()[0];
}

function composedStep(
  parameter: Variable,
  firstMoment: Variable,
  secondMoment: Variable,
  gradient: Tensor,
  { learningRate, beta1, beta2, epsilon, step }: XgAdamWAttrs,
  weightDecay: number,
  gradientScale: Scalar | undefined,
): void {
  tidy(() => {
    const scaled = gradientScale === undefined ? gradient : mul(gradient, gradientScale);
    const first = add(mul(firstMoment, scalar(beta1)), mul(scaled, scalar(1 - beta1)));
    const second = add(mul(secondMoment, scalar(beta2)), mul(square(scaled), scalar(1 - beta2)));
    const direction = div(
      mul(first, scalar(1 / (1 - beta1 ** step))),
      add(sqrt(mul(second, scalar(1 / (1 - beta2 ** step)))), scalar(epsilon)),
    );
    const decayed = mul(parameter, scalar(1 - learningRate * weightDecay));
    parameter.assign(sub(decayed, mul(direction, scalar(learningRate))));
    firstMoment.assign(first);
    secondMoment.assign(second);
  });
}

function checkArguments(
  state: AdamWState,
  gradients: readonly Tensor[],
  options: AdamWOptions,
  onDevice: boolean,
): XgAdamWAttrs {
  const { parameters, firstMoments, secondMoments } = state;
  const count = parameters.length;
  const { beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weightDecay = 0 } = options;
  if (gradients.length !== count || firstMoments.length !== count || secondMoments.length !== count) {
    throw new KernelsError(
      'WRONG_SHAPE',
      `adamW: ${count} parameters need as many gradients and moments, but there are ${gradients.length} gradients, ` +
        `${firstMoments.length} first and ${secondMoments.length} second moments.`,
      { value: gradients.length },
    );
  }
  for (let i = 0; i < count; i++) {
    const shape = parameters[i].shape;
    checkTensors('adamW', {
      [`parameters[${i}]`]: [parameters[i], 'float32', shape],
      [`gradients[${i}]`]: [gradients[i], 'float32', shape],
      [`firstMoments[${i}]`]: [firstMoments[i], 'float32', shape],
      [`secondMoments[${i}]`]: [secondMoments[i], 'float32', shape],
    });
  }
  if (options.gradientScale !== undefined) {
    checkTensors('adamW', { gradientScale: [options.gradientScale, 'float32', []] });
  }
  const decays = typeof weightDecay === 'number' ? new Array<number>(count).fill(weightDecay) : [...weightDecay];
  if (decays.length !== count) {
    throw new KernelsError('WRONG_OPTION', `adamW: weightDecay has ${decays.length} entries for ${count} parameters.`, {
      value: decays.length,
    });
  }
  for (const [name, value, dtype] of [
    ['learningRate', options.learningRate, 'float32'],
    ['step', options.step, 'int32'],
  ] as const) {
    if (typeof value === 'object') checkTensors('adamW', { [name]: [value, dtype, []] });
  }
  const [learningRate, step] = onDevice ? [0, 1] : [numberOf(options.learningRate), numberOf(options.step)];
  checkNumber('adamW', 'learningRate', learningRate, { minimum: 0 });
  checkNumber('adamW', 'beta1', beta1, { minimum: 0, maximum: 1 - 1e-9 });
  checkNumber('adamW', 'beta2', beta2, { minimum: 0, maximum: 1 - 1e-9 });
  checkNumber('adamW', 'epsilon', epsilon, { minimum: 0 });
  decays.forEach((decay, i) => checkNumber('adamW', `weightDecay[${i}]`, decay, { minimum: 0 }));
  checkInteger('adamW', 'step', step, 1);
  return { count, learningRate, beta1, beta2, epsilon, weightDecay: decays, step };
}
