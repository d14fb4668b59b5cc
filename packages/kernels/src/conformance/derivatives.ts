/**
 * Expected gradients by central differences (fourth order) of the float64 reference.
 *
 * Outputs are weighted by fixed random numbers and summed; that scalar is differentiated along a few random directions and a few single
 * coordinates of each input. Single coordinates find an error that sits in one place. Dense directions find one that is spread: the squares of the
 * error along them have the error's squared norm as their mean, so that over enough of them the ratio of norms is the gradient's own.
 */
import { type HostTensor, normalValues, seededNormal, seededUniform } from './host-tensor';
import type { OperationCase, OperationDeclaration } from './operation-declaration';

/** How many directions of each kind; few where one evaluation of the reference takes long. */
const usual = { dense: 16, single: 16 };
const few = { dense: 8, single: 2 };
const step = 1e-3;

export interface DirectionalDerivatives {
  /** Directions in the input's space, sparse ones as a coordinate. */
  readonly directions: readonly (Float64Array | number)[];
  readonly expected: Float64Array;
}

/** The weights by which outputs are summed to one number; the same for the backend and the reference. */
export function projectionWeights(output: number, size: number): Float64Array {
  return normalValues(size, 7919 + output);
}

/** Expected directional derivatives for each differentiable input, by name: [dense, single coordinates]. */
export function expectedDerivatives(
  declaration: OperationDeclaration<unknown>,
  { inputs, attributes, large }: OperationCase<unknown>,
): Map<string, [DirectionalDerivatives, DirectionalDerivatives]> {
  const counts = large === true ? few : usual;
  // Drawn once: there are some hundred evaluations.
  const weights: Float64Array[] = [];
  const project = (name: string, values: Float64Array): number => {
    const changed: HostTensor = { ...inputs[name], values };
    const outputs = declaration.reference({ ...inputs, [name]: changed }, attributes);
    return outputs.reduce(
      (sum, output, index) => sum + dot(output, (weights[index] ??= projectionWeights(index, output.length))),
      0,
    );
  };
  const along = (name: string, direction: Float64Array | number): number => {
    const base = inputs[name].values as Float64Array;
    const moved = (amount: number): Float64Array => {
      const values = Float64Array.from(base);
      if (typeof direction === 'number') values[direction] += amount;
      else for (let i = 0; i < values.length; i++) values[i] += amount * direction[i];
      return values;
    };
    const difference = (amount: number): number => project(name, moved(amount)) - project(name, moved(-amount));
    return (8 * difference(step) - difference(2 * step)) / (12 * step);
  };
  return new Map(
    declaration.differentiable.map((name) => {
      const size = inputs[name].values.length;
      const nextNormal = seededNormal(104729 + size);
      const nextUniform = seededUniform(1299709 + size);
      const dense = Array.from({ length: counts.dense }, () => Float64Array.from({ length: size }, nextNormal));
      const single = Array.from({ length: Math.min(counts.single, size) }, () => Math.floor(nextUniform() * size));
      const derivatives = (directions: (Float64Array | number)[]): DirectionalDerivatives => ({
        directions,
        expected: Float64Array.from(directions, (direction) => along(name, direction)),
      });
      return [name, [derivatives(dense), derivatives(single)]];
    }),
  );
}

/** The derivatives a computed gradient gives along the same directions. */
export function projectGradient(gradient: ArrayLike<number>, { directions }: DirectionalDerivatives): Float64Array {
  return Float64Array.from(directions, (direction) =>
    typeof direction === 'number' ? gradient[direction] : dot(gradient, direction),
  );
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
