/** What an optimizer is to a training loop: an init/update pair over named parameters, its state made of named variables. */
import * as tf from '@tensorflow/tfjs-core';
import { PretrainError } from '../errors';

/** Moments by parameter name; an optimizer keeps those that it needs. */
export interface OptimizerState {
  /** Updates made. */
  step: number;
  firstMoments: ReadonlyMap<string, tf.Variable>;
  secondMoments: ReadonlyMap<string, tf.Variable>;
}

export interface OptimizerUpdate {
  learningRate: number;
  /** Multiplies every gradient, from `globalNormScale`: clipping without a round trip to the host. */
  gradientScale?: tf.Scalar;
}

export interface Optimizer {
  /** Zero moments for these parameters. The caller disposes them. */
  initialize(parameters: ReadonlyMap<string, tf.Variable>): OptimizerState;
  /**
   * Changes parameters and moments in place; the state returned takes the place of the one passed. `gradients` by the same
   * names, which stay the caller's. Throws PretrainError INVALID_ARGUMENT when a gradient is missing.
   */
  update(
    state: OptimizerState,
    parameters: ReadonlyMap<string, tf.Variable>,
    gradients: ReadonlyMap<string, tf.Tensor>,
    update: OptimizerUpdate,
  ): OptimizerState;
  dispose(state: OptimizerState): void;
}

/** Every moment under a name of its own, to save and restore them. */
export function optimizerVariables({ firstMoments, secondMoments }: OptimizerState): Map<string, tf.Variable> {
  return new Map([
    ...[...firstMoments].map(([name, moment]) => [`firstMoments.${name}`, moment] as const),
    ...[...secondMoments].map(([name, moment]) => [`secondMoments.${name}`, moment] as const),
  ]);
}

export function disposeMoments({ firstMoments, secondMoments }: OptimizerState): void {
  for (const moment of [...firstMoments.values(), ...secondMoments.values()]) moment.dispose();
}

/** Zeros in the parameters' shapes; each is alone on its data, since kernels write into it. */
export function zeroMoments(parameters: ReadonlyMap<string, tf.Variable>): Map<string, tf.Variable> {
  return new Map(
    [...parameters].map(([name, { shape }]) => [name, tf.tidy(() => tf.variable(tf.zeros(shape), false))]),
  );
}

export function lookUp<T>(map: ReadonlyMap<string, T>, name: string, what: string): T {
  const found = map.get(name);
  if (found !== undefined) return found;
  throw new PretrainError('INVALID_ARGUMENT', `There is no ${what} for the parameter ${name}.`, {
    value: name,
    remedy: 'Pass the parameters that the state was initialised with and a gradient for each.',
  });
}
