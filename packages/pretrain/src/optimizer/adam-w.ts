/**
 * AdamW over a model's parameters (Loshchilov and Hutter, arXiv 1711.05101): an init/update pair around the fused in-place
 * kernel. Weight decay acts on matrices only, not on norm weights. Two float32 moments a parameter; an update is one
 * pass over all of them.
 */
import * as tf from '@tensorflow/tfjs-core';
import { adamW } from '@xgen-small/kernels';
import { PretrainError } from '../errors';
import type { AdamWOptions } from '../stage/stage';

/** Moments by parameter name. */
export interface AdamWState {
  /** Updates made. */
  step: number;
  firstMoments: ReadonlyMap<string, tf.Variable>;
  secondMoments: ReadonlyMap<string, tf.Variable>;
}

export interface AdamWUpdate {
  learningRate: number;
  /** Multiplies every gradient, from `globalNormScale`: clipping without a round trip to the host. */
  gradientScale?: tf.Scalar;
}

export interface AdamW {
  /** Zero moments for these parameters. The caller disposes them. */
  initialize(parameters: ReadonlyMap<string, tf.Variable>): AdamWState;
  /**
   * Changes parameters and moments in place; the state returned takes the place of the one passed. `gradients` by the same
   * names, which stay the caller's. Throws PretrainError INVALID_ARGUMENT when a gradient is missing.
   */
  update(
    state: AdamWState,
    parameters: ReadonlyMap<string, tf.Variable>,
    gradients: ReadonlyMap<string, tf.Tensor>,
    update: AdamWUpdate,
  ): AdamWState;
  dispose(state: AdamWState): void;
}

export const defaultAdamWOptions: Required<AdamWOptions> = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
};

export function createAdamW(options: AdamWOptions = {}): AdamW {
  const { weightDecay, ...betas } = { ...defaultAdamWOptions, ...options };
  return {
    initialize(parameters) {
      return { step: 0, firstMoments: zerosFor(parameters), secondMoments: zerosFor(parameters) };
    },
    update(state, parameters, gradients, { learningRate, gradientScale }) {
      const names = [...parameters.keys()];
      const step = state.step + 1;
      adamW(
        {
          parameters: [...parameters.values()],
          firstMoments: names.map((name) => lookUp(state.firstMoments, name, 'first moment')),
          secondMoments: names.map((name) => lookUp(state.secondMoments, name, 'second moment')),
        },
        names.map((name) => lookUp(gradients, name, 'gradient')),
        {
          ...betas,
          learningRate,
          step,
          gradientScale,
          weightDecay: [...parameters.values()].map(({ rank }) => (rank >= 2 ? weightDecay : 0)),
        },
      );
      return { ...state, step };
    },
    dispose({ firstMoments, secondMoments }) {
      for (const moment of [...firstMoments.values(), ...secondMoments.values()]) moment.dispose();
    },
  };
}

/** Both moments of every parameter under names of their own, to save and restore them. */
export function adamWVariables({ firstMoments, secondMoments }: AdamWState): Map<string, tf.Variable> {
  return new Map([
    ...[...firstMoments].map(([name, moment]) => [`firstMoments.${name}`, moment] as const),
    ...[...secondMoments].map(([name, moment]) => [`secondMoments.${name}`, moment] as const),
  ]);
}

function zerosFor(parameters: ReadonlyMap<string, tf.Variable>): Map<string, tf.Variable> {
  return new Map([...parameters].map(([name, { shape }]) => [name, zeroVariable(shape)]));
}

/** A variable that is alone on its data, since the kernel writes into it; without a name tfjs makes a unique one. */
function zeroVariable(shape: number[]): tf.Variable {
  return tf.tidy(() => tf.variable(tf.zeros(shape), false));
}

function lookUp<T>(map: ReadonlyMap<string, T>, name: string, what: string): T {
  const found = map.get(name);
  if (found !== undefined) return found;
  throw new PretrainError('INVALID_ARGUMENT', `AdamW: there is no ${what} for the parameter ${name}.`, {
    value: name,
    remedy: 'Pass the parameters that the state was initialised with and a gradient for each.',
  });
}
