/** On `native`, outputs and gradients have the same bits whatever the number of threads, and from one run to the next. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeBackends, initializeBackend } from '../backends/initialize-backend';
import { setMatmulPrecision, setThreadCount } from '../backends/settings';
import { runCase } from './check-case';
import { operations } from './operations';

const native = (await describeBackends()).find(({ name }) => name === 'native');

describe.skipIf(native?.available !== true)(`native (${native?.detail})`, () => {
  beforeAll(async () => {
    await initializeBackend({ preferred: 'native' });
  });
  afterAll(() => {
    setThreadCount(0);
    setMatmulPrecision('float32');
  });

  describe.each(['float32', 'bfloat16'] as const)('%s', (precision) => {
    const tested = operations.filter((one) => precision === 'float32' || one.usesMatmulPrecision);
    test.each(tested)('$operation', (declaration) => {
      setMatmulPrecision(precision);
      const one = declaration.benchmark();
      const results = [1, 4, 3, 3].map((threads) => {
        setThreadCount(threads);
        const run = runCase(declaration, one);
        const copies = [...run.outputs, ...run.gradients].map((tensor) =>
          Buffer.from(tensor.dataSync().slice().buffer),
        );
        run.dispose();
        return copies;
      });
      for (const result of results.slice(1)) {
        expect(result.map((bytes, i) => bytes.equals(results[0][i]))).toEqual(results[0].map(() => true));
      }
    });
  });
});
