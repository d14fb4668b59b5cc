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

export interface CaseRun {
  outputs: Tensor[];
  /** One for each differentiable input, of the randomly weighted sum of all outputs. */
  gradients: Tensor[];
  dispose(): void;
}

/** Runs a case forward and, where the operation has gradients, forward and backward again. */
export function runCase(
  declaration: OperationDeclaration<unknown>,
  { inputs, attributes }: OperationCase<unknown>,
): CaseRun {
  const names = declaration.differentiable;
  const constants = mapValues(inputs, toTensor);
  const variables = names.map((name) => tidy(() => variable(toTensor(inputs[name]))));
  const outputs = tidy(() => declaration.run(constants, attributes));
  const dispose = (): void => {
    for (const one of [...outputs, ...gradients, ...Object.values(constants), ...variables]) one.dispose();
  };
  const gradients: Tensor[] = [];
  if (names.length === 0) return { outputs, gradients, dispose };
  const differentiated = Object.fromEntries(names.map((name, i) => [name, variables[i] as Tensor]));
  const { value, gradients: found } = valueAndGradients(() => {
    const results = declaration.run({ ...constants, ...differentiated }, attributes);
    const projected = results.map((result, index) =>
      sum(mul(result, tensor(Float32Array.from(projectionWeights(index, result.size)), result.shape, 'float32'))),
    );
    return projected.reduce((total, part) => add(total, part)) as Scalar;
  }, variables);
  value.dispose();
  gradients.push(...variables.map(({ name }) => found.get(name) as Tensor));
  return { outputs, gradients, dispose };
}

/** Compares a run with the reference. */
export function compareRun(
  declaration: OperationDeclaration<unknown>,
  { outputs, gradients }: CaseRun,
  expected: Expectation,
): Comparison[] {
  const ofOutputs = outputs.map((output, index) => {
    const error = relativeError(output.dataSync(), expected.outputs[index]);
    return { what: `output ${index}`, error: output.dtype === 'int32' && error > 0 ? Infinity : error };
  });
  const ofGradients = gradients.flatMap((gradient, i) => {
    const name = declaration.differentiable[i];
    const groups = expected.derivatives.get(name) ?? [];
    return groups.map((group, kind) => ({
      what: `gradient of ${name}, ${kind === 0 ? 'dense directions' : 'single elements'}`,
      error: relativeError(projectGradient(gradient.dataSync(), group), group.expected),
    }));
  });
  return [...ofOutputs, ...ofGradients];
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
