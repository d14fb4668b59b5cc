/**
 * The conformance suite on one backend without a test runner, for machines that have none: a line of JSON for each failure and one for the
 * sum. `node cuda-conformance.js [cuda | native | cpu] [OPERATION]`; the bundle (bundle.mjs) builds it.
 */
import { activate } from '../../src/backends/tfjs-adapters';
import { compareRun, expectationOf, runCase } from '../../src/conformance/check-case';
import { operations } from '../../src/conformance/operations';
import { activeCudaBackend } from '../../src/cuda/index';
import { type BackendName, initializeBackend, setMatmulPrecision } from '../../src/index';

const tolerances = { float32: 1e-5, tensorfloat32: 1e-3, bfloat16: 1e-2 } as const;

const name = (process.argv[2] ?? 'cuda') as BackendName;
const only = process.argv[3];
const started = await initializeBackend({ preferred: name });
if (started.name !== name) throw new Error(started.warnings.join(' '));
await activate(name);
activeCudaBackend()?.addon.setPoison(true);

const summary = { summary: true, backend: started.reason, cases: 0, failed: 0, worst: {} as Record<string, number> };
const expectations = new Map<object, ReturnType<typeof expectationOf>>();
for (const precision of ['float32', 'tensorfloat32', 'bfloat16'] as const) {
  if (setMatmulPrecision(precision) !== precision) continue;
  const storesRounded = precision === 'bfloat16' && activeCudaBackend() !== undefined;
  for (const declaration of operations) {
    if (only !== undefined && declaration.operation !== only) continue;
    const rounded = precision !== 'float32' && (declaration.usesMatmulPrecision || storesRounded);
    if (precision !== 'float32' && !rounded) continue;
    const exact = declaration.tolerance ?? tolerances.float32;
    const tolerance = rounded ? Math.max(exact, tolerances[precision]) : exact;
    for (const one of declaration.cases) {
      summary.cases++;
      const where = { precision, operation: declaration.operation, case: one.name };
      try {
        const expected = expectations.get(one) ?? expectationOf(declaration, one);
        expectations.set(one, expected);
        const run = runCase(declaration, one);
        const comparisons = compareRun(declaration, run, expected);
        run.dispose();
        const allowed = (what: string): number =>
          rounded && what.endsWith('single elements') ? 2 * tolerance : tolerance;
        const failures = comparisons.filter(({ what, error }) => !(error <= allowed(what)));
        const worst = Math.max(0, ...comparisons.map(({ error }) => error));
        const key = `${precision} ${declaration.operation}`;
        summary.worst[key] = Math.max(summary.worst[key] ?? 0, worst);
        if (failures.length === 0) continue;
        summary.failed++;
        console.log(
          JSON.stringify({ ...where, failures: failures.map(({ what, error }) => ({ what, error: String(error) })) }),
        );
      } catch (error) {
        summary.failed++;
        console.log(JSON.stringify({ ...where, threw: error instanceof Error ? error.message : String(error) }));
      }
    }
  }
}
console.log(JSON.stringify(summary));
