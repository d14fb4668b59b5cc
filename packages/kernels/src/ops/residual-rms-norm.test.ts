/** The stream that is passed through shares its data with the one given, and lives as long as either handle. */
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { initializeBackend } from '../backends/initialize-backend';
import { missing, useEmulatedDevice } from '../cuda/test-support';
import { loadAddon } from '../native/load-addon';
import { nativeBackend } from '../native/settings';
import { normalVariable } from '../tape/test-support';
import { valueAndGradients } from '../tape/value-and-gradients';
import { residualRmsNorm } from './residual-rms-norm';

/** A backend, why it is not here, and how it starts: with what counts the data that it holds. */
const places: [string, string | undefined, () => Promise<() => number>][] = [
  [
    'cpu',
    undefined,
    async () => {
      await initializeBackend({ preferred: 'cpu' });
      return () => tf.backend().numDataIds();
    },
  ],
  [
    'native',
    loadAddon().addon === undefined ? 'there is no addon' : undefined,
    async () => {
      await initializeBackend({ preferred: 'native' });
      return () => nativeBackend()!.numDataIds();
    },
  ],
  [
    'the emulated device',
    missing,
    async () => {
      const backend = await useEmulatedDevice();
      return () => backend.addon.statistics().liveBlocks;
    },
  ],
];

for (const [place, lack, start] of places) {
  describe.skipIf(lack !== undefined)(`residualRmsNorm on ${place}${lack === undefined ? '' : ` (${lack})`}`, () => {
    const values = Float32Array.from({ length: 40 }, (_, i) => Math.sin(i));
    let held: () => number;
    let weight: tf.Variable;
    let before: { tensors: number; buffers: number; held: number };
    const counts = (): typeof before => ({
      tensors: tf.memory().numTensors,
      buffers: tf.memory().numDataBuffers,
      held: held(),
    });
    /** A stream whose data no caller's array and no host copy stands for. */
    const makeStream = (): tf.Tensor2D => tf.tidy(() => tf.mul(tf.tensor2d(values, [5, 8]), tf.ones([5, 8])));
    beforeEach(async () => {
      held = await start();
      weight = normalVariable([8], 1);
      // What the first call makes and keeps (a weight's array, say) is no leak.
      tf.tidy(() => void residualRmsNorm(makeStream(), weight, { epsilon: 1e-5 }).normalized.dataSync());
      before = counts();
    });
    afterEach(() => {
      weight.dispose();
    });

    test.each([
      ['the given stream first', true],
      ['the passed one first', false],
    ])('disposing of %s leaves the other, and nothing is left after both', (_, givenFirst) => {
      const given = makeStream();
      const { normalized, residual } = tf.tidy(() => ({ ...residualRmsNorm(given, weight, { epsilon: 1e-5 }) }));
      expect(residual).not.toBe(given);
      expect(residual.dataId).toBe(given.dataId);
      tf.dispose(normalized);
      const shared = counts();
      const [first, second] = givenFirst ? [given, residual] : [residual, given];
      first.dispose();
      expect(counts()).toEqual({ ...shared, tensors: shared.tensors - 1 });
      // What takes new memory now must not get the stream's.
      const other = tf.fill([5, 8], 7);
      expect(second.dataSync()).toEqual(values);
      other.dispose();
      second.dispose();
      expect(counts()).toEqual(before);
    });

    test('passed on through blocks whose norms nothing uses, it keeps its values and its gradient, and leaves nothing behind', () => {
      const { value, gradients } = valueAndGradients(() => {
        let stream = tf.mul<tf.Tensor2D>(makeStream(), weight);
        for (let block = 0; block < 4; block++) {
          const given = stream;
          stream = tf.tidy(() => residualRmsNorm(given, weight, { epsilon: 1e-5 }).residual);
          given.dispose();
          expect(stream.dataId).toBe(given.dataId);
        }
        return tf.sum(stream);
      }, [weight]);
      const found = Array.from(gradients.get(weight.name)!.dataSync());
      found.forEach((sum, column) => {
        const expected = [0, 1, 2, 3, 4].reduce((total, row) => total + values[row * 8 + column], 0);
        expect(sum).toBeCloseTo(expected, 5);
      });
      tf.dispose([value, ...gradients.values()]);
      expect(counts()).toEqual(before);
    });
  });
}
