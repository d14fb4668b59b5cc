import { packageTests } from '../../tooling/vitest/base.js';

// Most files keep one core busy; beside them nvcc has the other for its two minutes.
export default packageTests({ fileParallelism: true, maxWorkers: 2 });
