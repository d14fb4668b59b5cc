import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'encode-worker': 'src/encode-worker.ts',
    'count-worker': 'src/training/count-worker.ts',
    'corpus-worker': 'src/shards/corpus-worker.ts',
  },
  format: ['esm'],
  target: 'node20',
  dts: { entry: { index: 'src/index.ts' } },
  clean: true,
  sourcemap: false,
});
