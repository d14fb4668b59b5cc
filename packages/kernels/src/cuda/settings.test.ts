/** Settings reach the backend whether they were made before it started or after. On the emulated device. */
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, type MockInstance, test, vi } from 'vitest';
import { setDeterministic } from '../backends/settings';
import { groupedQueryAttention } from '../ops/grouped-query-attention';
import type { CudaAddon } from './addon';
import { loadCudaAddon } from './load-addon';
import { missing, useEmulatedDevice } from './test-support';

describe.skipIf(missing !== undefined)(`setDeterministic${missing === undefined ? '' : ` (${missing})`}`, () => {
  let told: MockInstance<CudaAddon['setDeterministic']>;
  beforeAll(() => {
    told = vi.spyOn(loadCudaAddon('cuda-emulated').addon!, 'setDeterministic');
  });
  afterAll(() => {
    setDeterministic(false);
    told.mockRestore();
  });
  const attend = (): Float32Array =>
    tf.tidy(() => {
      const qkv = tf.tensor2d(
        Float32Array.from({ length: 9 * 32 }, (_, i) => Math.sin(i)),
        [9, 32],
      );
      const lengths = tf.tensor1d([0, 4, 9], 'int32');
      return groupedQueryAttention(qkv, lengths, { queryHeads: 2, keyValueHeads: 1, headDimension: 8 })
        .dataSync<'float32'>()
        .slice();
    });

  // In this order: the backend starts once.
  test('before the backend starts, it waits for it', async () => {
    setDeterministic(true);
    expect(told).not.toHaveBeenCalled();
    await useEmulatedDevice();
    expect(told.mock.calls).toEqual([[true]]);
  });

  test('afterwards, it is passed on at once, and a later start changes nothing', async () => {
    const deterministic = attend();
    told.mockClear();
    setDeterministic(false);
    expect(told.mock.calls).toEqual([[false]]);
    await useEmulatedDevice();
    expect(told.mock.calls).toEqual([[false]]);
    // There is no cuDNN here, so the same kernels run.
    expect(attend()).toEqual(deterministic);
  });
});
