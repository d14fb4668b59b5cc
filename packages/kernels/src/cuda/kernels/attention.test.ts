/**
 * What attention is told of the documents' lengths: the longest one where the host knows them, and 0 where only the device does or where they are
 * wrong, which the next read reports. On the emulated device.
 */
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import { normal, toTensor } from '../../conformance/host-tensor';
import { groupedQueryAttention } from '../../ops/grouped-query-attention';
import { normalVariable } from '../../tape/test-support';
import { valueAndGradients } from '../../tape/value-and-gradients';
import type { CudaAddon } from '../addon';
import type { CudaBackend } from '../cuda-backend';
import { missing, useEmulatedDevice } from '../test-support';

const heads = { queryHeads: 4, keyValueHeads: 2, headDimension: 8 };
const width = 8 * 8;
const longest = 6; // which argument it is

describe.skipIf(missing !== undefined)(`lengths of documents${missing === undefined ? '' : ` (${missing})`}`, () => {
  let forward: MockInstance<CudaAddon['attention']>;
  let backward: MockInstance<CudaAddon['attentionGrad']>;
  let backend: CudaBackend;
  let qkv: tf.Variable;
  beforeAll(async () => {
    backend = await useEmulatedDevice();
    [forward, backward] = [vi.spyOn(backend.addon, 'attention'), vi.spyOn(backend.addon, 'attentionGrad')];
    qkv = normalVariable([20, width], 1);
  });
  beforeEach(() => {
    tf.engine().startScope();
    forward.mockClear();
    backward.mockClear();
  });
  afterEach(() => {
    tf.engine().endScope();
  });
  afterAll(() => {
    forward.mockRestore();
    backward.mockRestore();
    qkv.dispose();
  });

  const told = (): unknown[] => [...forward.mock.calls, ...backward.mock.calls].map((call) => call[longest]);
  const lengthsOf = (...values: number[]): tf.Tensor1D => tf.tensor1d(values, 'int32');
  /** The same lengths, which only the device knows. */
  const onDevice = (lengths: tf.Tensor1D): tf.Tensor1D => {
    const computed = tf.concat([tf.slice(lengths, 0, 1), tf.slice(lengths, 1)]);
    expect(backend.hostValues(computed)).toBeUndefined();
    return computed;
  };
  /** Output and gradient. */
  const run = (lengths: tf.Tensor1D): Float32Array[] => {
    let output: tf.Tensor | undefined;
    const { gradients } = valueAndGradients(() => {
      output = tf.keep(groupedQueryAttention(qkv, lengths, heads));
      return tf.sum(tf.square(output));
    }, [qkv]);
    const values = [output!, gradients.get(qkv.name)!].map((tensor) => tensor.dataSync<'float32'>().slice());
    output!.dispose();
    return values;
  };

  test('that the host wrote give the longest, both ways', () => {
    run(lengthsOf(0, 3, 3, 14, 20));
    expect(told()).toEqual([11, 11]);
    forward.mockClear();
    backward.mockClear();
    run(lengthsOf(0, 20));
    expect(told()).toEqual([20, 20]);
  });

  test('that the device computed give none, and the same results', () => {
    const known = run(lengthsOf(0, 3, 3, 14, 20));
    forward.mockClear();
    backward.mockClear();
    expect(run(onDevice(lengthsOf(0, 3, 3, 14, 20)))).toEqual(known);
    expect(told()).toEqual([0, 0]);
  });

  test('of more documents than the host keeps give none', () => {
    const documents = 4097;
    const lengths = tf.tensor1d(
      Int32Array.from({ length: documents + 1 }, (_, i) => i),
      'int32',
    );
    const rows = toTensor(normal([documents, width], 2)) as tf.Tensor2D;
    const output = groupedQueryAttention(rows, lengths, heads);
    expect(told()).toEqual([0]);
    // A token alone sees its own value: head h reads key-value head ⌊h/2⌋, whose values lie in the last 16 columns.
    const values = tf.slice(rows, [0, 48], [documents, 16]).dataSync();
    const expected = Float32Array.from({ length: documents * 32 }, (_, i) => {
      const [token, column] = [Math.floor(i / 32), i % 32];
      return values[token * 16 + Math.floor(column / 16) * 8 + (column % 8)];
    });
    output.dataSync().forEach((value, i) => expect(Math.abs(value - expected[i])).toBeLessThan(1e-6));
  });

  test.each([
    ['start late', [1, 3, 20], 0, 1],
    ['end early', [0, 3, 19], 2, 19],
    ['end late', [0, 3, 21], 2, 21],
    ['fall', [0, 9, 4, 20], 2, 4],
  ])('that %s are reported at the next read, known to the host or not', (_, values, position, value) => {
    for (const lengths of [lengthsOf(...values), onDevice(lengthsOf(...values))]) {
      const output = groupedQueryAttention(qkv, lengths, heads);
      let error: unknown;
      try {
        output.dataSync();
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toMatchObject({
        code: 'BROKEN_CUMULATIVE_LENGTHS',
        message: expect.stringMatching(
          new RegExp(`^groupedQueryAttention: .*entry ${position} is ${value}\\b`),
        ) as string,
      });
    }
    // Falling lengths have a longest document that must not be believed.
    expect(told()).toEqual([0, 0]);
    // The error was told once.
    expect(run(lengthsOf(0, 20))[0]).toHaveLength(20 * 32);
  });
});
