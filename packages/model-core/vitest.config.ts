import { packageTests } from '../../tooling/vitest/base.js';

export default packageTests({ execArgv: ['--expose-gc'] });
