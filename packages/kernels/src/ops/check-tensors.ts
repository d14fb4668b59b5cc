/**
 * Shape and dtype checks of every public operation: one declaration, one error that names all of the arguments.
 *
 * A shape is written with the letters of the docstring: `['N', 'D']`. Equal letters must have equal sizes across the arguments; a
 * number must be met exactly. Costs well under a microsecond; nothing is allocated but the table of letters.
 */
import { Tensor, Variable } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';

export type ArgumentSpecification = readonly [
  tensor: Tensor,
  dtype: 'float32' | 'int32',
  shape: readonly (string | number)[],
];

/** Checks the arguments of `operation` and returns the size behind each letter. */
export function checkTensors(
  operation: string,
  specifications: Record<string, ArgumentSpecification>,
): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const name in specifications) {
    const [tensor, dtype, shape] = specifications[name];
    if (!(tensor instanceof Tensor)) {
      throw new KernelsError('NOT_A_TENSOR', `${operation}: ${name} must be a tensor.`, { value: tensor });
    }
    if (tensor.isDisposed) {
      throw new KernelsError('DISPOSED_TENSOR', `${operation}: ${name} ${describe(tensor)} is disposed.`, {
        remedy: 'Keep it alive (tidy disposes what it does not return).',
      });
    }
    if (tensor.dtype !== dtype) {
      throw new KernelsError(
        'WRONG_DTYPE',
        `${operation}: ${name} must be ${dtype}, but is ${tensor.dtype} (${listArguments(specifications)}).`,
        { value: tensor.dtype, remedy: `Cast it to ${dtype}.` },
      );
    }
    if (tensor.shape.length !== shape.length || !matches(tensor.shape, shape, sizes)) {
      const wanted = shape.map((axis) =>
        typeof axis === 'string' && axis in sizes ? `${axis} = ${sizes[axis]}` : `${axis}`,
      );
      throw new KernelsError(
        'WRONG_SHAPE',
        `${operation}: ${name} must have shape [${wanted.join(', ')}], but has [${tensor.shape.join(', ')}] ` +
          `(${listArguments(specifications)}).`,
        { value: [...tensor.shape] },
      );
    }
  }
  return sizes;
}

/** Throws unless all are variables: what an operation changes in place may be no constant, nor another tensor's data. */
export function checkVariables(operation: string, tensors: Record<string, Tensor>): void {
  for (const name in tensors) {
    if (tensors[name] instanceof Variable) continue;
    throw new KernelsError('WRONG_OPTION', `${operation}: ${name} must be a variable, as it changes in place.`, {
      remedy: 'Pass a tf.variable.',
    });
  }
}

/** Throws unless `value` is an integer ≥ `minimum`. */
export function checkInteger(operation: string, name: string, value: number, minimum: number): void {
  if (!Number.isInteger(value) || value < minimum) {
    throw new KernelsError('WRONG_OPTION', `${operation}: ${name} must be an integer ≥ ${minimum}, but is ${value}.`, {
      value,
    });
  }
}

/** Throws unless `value` is a finite number with `minimum` ≤ value (or < where `exclusive`). */
export function checkNumber(
  operation: string,
  name: string,
  value: number,
  {
    minimum = -Infinity,
    maximum = Infinity,
    finite = true,
  }: { minimum?: number; maximum?: number; finite?: boolean } = {},
): void {
  if (
    typeof value !== 'number' ||
    Number.isNaN(value) ||
    (finite && !Number.isFinite(value)) ||
    value < minimum ||
    value > maximum
  ) {
    const range = `${minimum === -Infinity ? '' : ` ≥ ${minimum}`}${maximum === Infinity ? '' : ` ≤ ${maximum}`}`;
    throw new KernelsError('WRONG_OPTION', `${operation}: ${name} must be a number${range}, but is ${value}.`, {
      value,
    });
  }
}

function matches(
  actual: readonly number[],
  wanted: readonly (string | number)[],
  sizes: Record<string, number>,
): boolean {
  let equal = true;
  for (let axis = 0; axis < wanted.length; axis++) {
    const letter = wanted[axis];
    const size = actual[axis];
    if (typeof letter === 'number') equal &&= letter === size;
    else if (letter in sizes) equal &&= sizes[letter] === size;
    else sizes[letter] = size;
  }
  return equal;
}

function describe(tensor: Tensor): string {
  return `${tensor.dtype} [${tensor.shape.join(', ')}]`;
}

function listArguments(specifications: Record<string, ArgumentSpecification>): string {
  return Object.entries(specifications)
    .map(([name, [tensor]]) => `${name} ${tensor instanceof Tensor ? describe(tensor) : 'no tensor'}`)
    .join(', ');
}
