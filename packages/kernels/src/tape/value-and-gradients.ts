/**
 * Value and gradients of a scalar function of variables: what a training step calls.
 *
 * Gradients equal tfjs's `variableGrads` bit for bit; the peak of memory is lower, since saved tensors and incoming gradients go as
 * soon as they were used, and nothing leaks when the function throws.
 */
import { onesLike, type Scalar, Tensor, type Variable, zerosLike } from '@tensorflow/tfjs-core';
import '../gradients/index';
import { KernelsError } from '../kernels-error';
import { engineInternals } from './engine-internals';
import { backpropagate, recordTape } from './walk';

export interface ValueAndGradients {
  value: Scalar;
  /** One gradient a variable, by the variable's name; zeros where the value does not depend on it. */
  gradients: Map<string, Tensor>;
}

/**
 * Runs `f`, which must return a float32 scalar, and differentiates it with respect to `variables`.
 *
 * Intermediate tensors of `f` are disposed; the value and the gradients are the caller's (or its tidy scope's). `f` must be
 * synchronous.
 *
 * @throws KernelsError NO_VARIABLES, WRONG_VALUE (no float32 scalar), NO_GRADIENT_PATH (the value depends on none of the variables), NO_GRADIENT (an
 * operation without gradient), NESTED_GRADIENT
 */
export function valueAndGradients(f: () => Scalar, variables: Iterable<Variable>): ValueAndGradients {
  const sources = [...variables];
  if (sources.length === 0) {
    throw new KernelsError(
      'NO_VARIABLES',
      'valueAndGradients needs at least one variable to differentiate with respect to.',
    );
  }
  const { value, list } = engineInternals().tidy(() => {
    const { result: value, tape } = recordTape(() => {
      const returned = f();
      // Inside, so that the tape is freed, and before tidy sees a promise and complains on the console.
      const problem = problemWith(returned);
      if (problem === undefined) return returned;
      throw new KernelsError(
        'WRONG_VALUE',
        `The differentiated function must return a float32 scalar, but returned ${problem}.`,
        { value: returned },
      );
    });
    const found = backpropagate(tape, [value], [onesLike(value)], sources);
    if (found.every((gradient) => gradient === undefined)) {
      throw new KernelsError('NO_GRADIENT_PATH', 'The value depends on none of the variables.', {
        remedy: 'Compute it from the variables inside the function, with operations that have gradients.',
      });
    }
    return { value, list: found.map((gradient, i) => gradient ?? zerosLike(sources[i])) };
  });
  return { value, gradients: new Map(sources.map(({ name }, i) => [name, list[i]])) };
}

function problemWith(value: unknown): string | undefined {
  if (!(value instanceof Tensor)) return value instanceof Promise ? 'a promise' : typeof value;
  const { dtype, shape } = value as Tensor;
  if (dtype !== 'float32' || shape.length !== 0) return `${dtype} [${shape.join(', ')}]`;
  return undefined;
}
