import { defineConfig } from 'tsup';

export default defineConfig({
  entry: { index: 'src/index.ts', 'curation-worker': 'src/engine/curation-worker.ts' },
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  dts: { entry: { index: 'src/index.ts' } },
  clean: true,
  sourcemap: false,
});
