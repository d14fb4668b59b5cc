/** What the built package exports, by name: a change here is a change for users and wants a changeset. */
import { expect, test } from 'vitest';

test('the public API', async () => {
  const built = (await import('../dist/index.js')) as Record<string, unknown>;
  expect(Object.keys(built).sort()).toEqual([
    'KernelsError',
    'adamW',
    'addRmsNorm',
    'capture',
    'checkpointed',
    'createPagedCache',
    'describeBackends',
    'deviceMemory',
    'embedding',
    'feedForward',
    'globalNormScale',
    'groupedQueryAttention',
    'initializeBackend',
    'kept',
    'linear',
    'linearCrossEntropy',
    'linearSwiglu',
    'nativeVariants',
    'pagedAttention',
    'pagedCacheAppend',
    'resetDeviceMemoryPeaks',
    'rmsNorm',
    'rope',
    'ropeAppend',
    'sampleTokens',
    'setDeterministic',
    'setMatmulPrecision',
    'setNativeVariant',
    'setThreadCount',
    'storeInBfloat16',
    'swiglu',
    'synchronizeDevice',
    'valueAndGradients',
  ]);
});
