import { packageTests } from '../../tooling/vitest/base.js';

// One test measures memory after a collection.
export default packageTests({ execArgv: ['--expose-gc'] });
