/** Every operation, on every backend present, against plain loops in float64 and finite differences of them. */
import { engine, memory, tidy } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import '../gradients/index';
import { KernelsError } from '../kernels-error';
import { isHostBackend } from '../ops/host-memory';
import { backendsUnderTest } from './backends';
import { compareRun, type Comparison, type Expectation, expectationOf, runCase } from './check-case';
import type { OperationCase, OperationDeclaration } from './operation-declaration';
import { operations } from './operations';

const float32Tolerance = 1e-5;
/** Of products that round their operands, and of everything that is stored rounded. */
const roundedTolerance = { float32: 0, tensorfloat32: 1e-3, bfloat16: 1e-2 };

const expectations = new Map<OperationCase<unknown>, Expectation>();
function expectationFor(declaration: OperationDeclaration<unknown>, one: OperationCase<unknown>): Expectation {
  const known = expectations.get(one) ?? expectationOf(declaration, one);
  expectations.set(one, known);
  return known;
}

const backends = await backendsUnderTest();

describe.each(backends)('$label', ({ label, precision, storesBfloat16, skip, activate }) => {
  if (skip !== undefined) {
    test(`${label} is not here: ${skip}`, (context) => context.skip(skip));
    return;
  }
  beforeAll(activate);

  // In lower precision only the operations that multiply or store in it are of interest; their refusals are the same.
  const isRounded = (declaration: OperationDeclaration<unknown>): boolean =>
    precision !== 'float32' && (declaration.usesMatmulPrecision || storesBfloat16 === true);
  const tested = operations.filter((declaration) => precision === 'float32' || isRounded(declaration));
  describe.each(tested)('$operation', (declaration) => {
    test.each(declaration.cases)('$name', (one) => {
      const before = memory().numTensors;
      const expected = expectationFor(declaration, one);
      const run = runCase(declaration, one);
      const comparisons = compareRun(declaration, run, expected);
      run.dispose();
      const exact = declaration.tolerance ?? float32Tolerance;
      const tolerance = isRounded(declaration) ? Math.max(exact, roundedTolerance[precision]) : exact;
      // The dense directions together measure ‖error‖/‖gradient‖; the few single elements may be small ones.
      const allowed = ({ what }: Comparison): number =>
        isRounded(declaration) && what.endsWith('single elements') ? 2 * tolerance : tolerance;
      expect(comparisons.filter((one) => !(one.error <= allowed(one)))).toEqual([]);
      expect(memory().numTensors - before, 'tensors leaked').toBe(0);
    });

    test.each(declaration.failures)('refuses $name', ({ call, code, readsValues }) => {
      if (readsValues === true && !isHostBackend()) return;
      const before = memory().numTensors;
      let thrown: unknown;
      try {
        tidy(call);
      } catch (error) {
        thrown = error;
      }
      expect(KernelsError.isInstance(thrown), `threw ${String(thrown)}`).toBe(true);
      expect((thrown as KernelsError).code).toBe(code);
      expect((thrown as KernelsError).message).toMatch(/^[a-z]\w+: /i);
      expect(memory().numTensors - before, 'tensors leaked').toBe(0);
      expect(engine().state.gradientDepth).toBe(0);
    });
  });
});
