import { defineConfig } from 'vitest/config';

/** Timings that need the TypeScript sources: `pnpm bench:operations`. */
export default defineConfig({
  test: { include: ['bench/**/*.timing.ts'], pool: 'forks', fileParallelism: false, testTimeout: 600_000 },
});
