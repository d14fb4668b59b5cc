/** Runs one case on the active backend and compares outputs and gradients with what the reference says. */
import { add, mul, type Scalar, sum, type Tensor, tensor, tidy, variable } from '@tensorflow/tfjs-core';
import { valueAndGradients } from '../tape/value-and-gradients';
import { expectedDerivatives, projectGradient, projectionWeights } from './derivatives';
import { toTensor } from './host-tensor';
import type { OperationCase, OperationDeclaration } from './operation-declaration';

/** What the reference says about a case; computed once, compared with every backend. */
export interface Expectation {
  outputs: Float64Array[];
  derivatives: ReturnType<typeof expectedDerivatives>;
}

export function expectationOf(
  declaration: OperationDeclaration<unknown>,
  operationCase: OperationCase<unknown>,
): Expectation {
  return {
    outputs: declaration.reference(operationCase.inputs, operationCase.attributes),
    derivatives: expectedDerivatives(declaration, operationCase),
  };
}

/** A comparison: what was compared, and ‖actual − expected‖ / ‖expected‖ (for integers: 0 or Infinity). */
export interface Comparison {
  what: string;
  error: number;
}

export function compareOutputs(
  declaration: OperationDeclaration<unknown>,
  { inputs, attributes }: OperationCase<unknown>,
  expected: Float64Array[],
): Comparison[] {
  const tensors = mapValues(inputs, toTensor);
  const outputs = tidy(() => declaration.run(tensors, attributes));
  const comparisons = outputs.map((output, index) => {
    const exact = output.dtype === 'int32';
    const error = relativeError(output.dataSync(), expected[index]);
    return { what: `output ${index}`, error: exact && error > 0 ? Infinity : error };
  });
  for (const one of [...outputs, ...Object.values(tensors)]) one.dispose();
  return comparisons;
}

export function compareGradients(
  declaration: OperationDeclaration<unknown>,
  { inputs, attributes }: OperationCase<unknown>,
  { outputs, derivatives }: Expectation,
): Comparison[] {
  const names = declaration.differentiable;
  const constants = mapValues(inputs, toTensor);
  const variables = names.map((name) => tidy(() => variable(toTensor(inputs[name]))));
  const weights = outputs.map((output, index) => projectionWeights(index, output.length));
  const { value, gradients } = valueAndGradients(() => {
    const differentiated = Object.fromEntries(names.map((name, i) => [name, variables[i] as Tensor]));
    const results = declaration.run({ ...constants, ...differentiated }, attributes);
    const projected = results.map((result, index) =>
      sum(mul(result, tensor(Float32Array.from(weights[index]), result.shape, 'float32'))),
    );
    return projected.reduce((total, part) => add(total, part)) as Scalar;
  }, variables);
  const comparisons = names.flatMap((name, i) => {
    const gradient = (gradients.get(variables[i].name) as Tensor).dataSync();
    const [dense, single] = derivatives.get(name) ?? [];
    return [dense, single].flatMap((group, kind) =>
      group === undefined
        ? []
        : [
            {
              what: `gradient of ${name}, ${kind === 0 ? 'dense directions' : 'single elements'}`,
              error: relativeError(projectGradient(gradient, group), group.expected),
            },
          ],
    );
  });
  value.dispose();
  for (const one of [...gradients.values(), ...Object.values(constants), ...variables]) one.dispose();
  return comparisons;
}

/** ‖actual − expected‖ / ‖expected‖; where nothing is expected, ‖actual‖. NaN and wrong lengths count as Infinity. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let difference = 0;
  let magnitude = 0;
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i]) {
      if (Number.isFinite(expected[i])) magnitude += expected[i] ** 2;
      continue;
    }
    difference += (actual[i] - expected[i]) ** 2;
    magnitude += expected[i] ** 2;
  }
  if (Number.isNaN(difference)) return Infinity;
  return magnitude > 0 ? Math.sqrt(difference / magnitude) : Math.sqrt(difference);
}

function mapValues<A, B>(record: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
