/** Stock operations on the (emulated) device against tfjs's CPU backend, on the same inputs. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import '../gradients/index';
import { normalValues } from '../conformance/host-tensor';
import { runOnHost } from './fallback';
import { missing, useEmulatedDevice, valuesOn } from './test-support';

let seed = 0;
const normal = (...shape: number[]): tf.Tensor =>
  tf.tensor(Float32Array.from(normalValues(tf.util.sizeFromShape(shape), ++seed)), shape);
const positive = (...shape: number[]): tf.Tensor => tf.add(tf.abs(normal(...shape)), 0.1);
const flags = (...shape: number[]): tf.Tensor => tf.greater(normal(...shape), 0);
const ids = (count: number, limit: number): tf.Tensor1D =>
  tf.tensor1d(Int32Array.from({ length: count }, (_, i) => (i * 7) % limit));

const cases: Record<string, () => tf.Tensor | tf.Tensor[]> = {
  'add of one shape': () => tf.add(normal(7, 13), normal(7, 13)),
  'add of a scalar': () => tf.add(normal(7, 13), 2),
  'scalar minus': () => tf.sub(tf.scalar(2), normal(300)),
  'multiply by a row': () => tf.mul(normal(7, 13), normal(13)),
  'row divided by': () => tf.div(normal(13), positive(7, 13)),
  'multiply by a column': () => tf.mul(normal(7, 13), normal(7, 1)),
  'an outer sum': () => tf.add(normal(7, 1), normal(1, 13)),
  'a middle axis': () => tf.mul(normal(2, 3, 4), normal(3, 1)),
  'two rows of different lengths': () => tf.add(normal(1, 4), normal(1, 3, 4)),
  'leading ones': () => tf.add(normal(1, 1, 5), normal(5)),
  'maximum and minimum': () => [tf.maximum(normal(50), normal(50)), tf.minimum(normal(50), 0.3)],
  'squared difference': () => tf.squaredDifference(normal(9, 9), normal(9, 9)),
  power: () => tf.pow(positive(40), normal(40)),
  comparisons: () => [
    tf.greater(normal(99), 0),
    tf.greaterEqual(normal(9, 4), normal(4)),
    tf.less(normal(99), normal(99)),
    tf.lessEqual(normal(99), 0),
    tf.equal(tf.round(normal(99)), 0),
    tf.notEqual(tf.round(normal(99)), 0),
  ],
  'comparisons of integers': () => [tf.equal(ids(40, 5), tf.scalar(3, 'int32')), tf.less(ids(40, 9), ids(40, 5))],
  'arithmetic of integers': () => [tf.add(ids(9, 7), ids(9, 5)), tf.mul(ids(9, 7), tf.scalar(1 << 25, 'int32'))],
  logic: () => [tf.logicalAnd(flags(33), flags(33)), tf.logicalOr(flags(33), flags(33)), tf.logicalNot(flags(33))],
  'mixed dtypes': () => [tf.mul(normal(12), ids(12, 4)), tf.add(normal(12), tf.cast(flags(12), 'float32'))],
  'functions of one tensor': () =>
    [tf.exp, tf.neg, tf.square, tf.sigmoid, tf.relu, tf.abs, tf.tanh, tf.sign, tf.floor, tf.ceil, tf.expm1].map((f) =>
      f(normal(65)),
    ),
  'more functions of one tensor': () => [
    ...[tf.softplus, tf.sin, tf.cos, tf.isNaN, tf.step].map((f) => f(normal(65))),
    ...[tf.sqrt, tf.rsqrt, tf.log, tf.reciprocal, tf.log1p].map((f) => f(positive(65))),
    tf.step(normal(9), 0.5),
  ],
  'sum of many': () => tf.addN(Array.from({ length: 40 }, () => normal(5, 6))),
  select: () => [
    tf.where(flags(4, 5), normal(4, 5), normal(4, 5)),
    tf.where(flags(6), ids(6, 6), tf.zerosLike(ids(6, 6))),
  ],
  clip: () => tf.clipByValue(normal(77), -0.5, 0.75),
  casts: () => [
    tf.cast(tf.mul(normal(50), 3), 'int32'),
    tf.cast(normal(50), 'bool'),
    tf.cast(ids(50, 9), 'float32'),
    tf.cast(flags(50), 'int32'),
    tf.cast(ids(5, 2), 'bool'),
  ],
  constants: () => [tf.fill([3, 4], 2.5), tf.onesLike(normal(5)), tf.zerosLike(ids(5, 5)), tf.ones([2, 2], 'bool')],
  'sums over every choice of axes': () =>
    [[], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]].flatMap((axes) => [
      tf.sum(normal(3, 4, 5), axes),
      tf.sum(normal(3, 4, 5), axes, true),
    ]),
  'sums of integers and flags': () => [tf.sum(ids(30, 7)), tf.sum(flags(30)), tf.sum(tf.cast(flags(4, 5), 'int32'), 1)],
  'extrema and means': () => [
    tf.max(normal(4, 30), 1),
    tf.min(normal(4, 30), 0),
    tf.max(normal(4, 30)),
    tf.mean(normal(4, 30)),
    tf.mean(normal(4, 3, 5), [0, 2]),
  ],
  'empty tensors': () => [
    tf.sum(tf.zeros([0, 4]), 0),
    tf.add(tf.zeros([0, 4]), 1),
    tf.concat([tf.zeros([0, 4]), normal(2, 4)], 0),
    tf.reverse(tf.zeros([0, 4]), 0),
  ],
  softmax: () => [tf.softmax(normal(6, 50)), tf.logSoftmax(normal(6, 50)), tf.logSumExp(normal(6, 50), 1)],
  'log-softmax of large logits': () => tf.logSoftmax(tf.mul(normal(3, 9), 200)),
  'matrix products': () =>
    [0, 1, 2, 3].map((bits) => {
      const [transposeA, transposeB] = [(bits & 1) !== 0, (bits & 2) !== 0];
      const a = transposeA ? normal(6, 5) : normal(5, 6);
      const b = transposeB ? normal(7, 6) : normal(6, 7);
      return tf.matMul(a, b, transposeA, transposeB);
    }),
  'batches of matrix products': () => [
    tf.matMul(normal(3, 4, 5), normal(3, 5, 6)),
    tf.matMul(normal(3, 4, 5), normal(3, 6, 5), false, true),
    tf.matMul(normal(3, 4, 5), normal(1, 5, 6)),
    tf.matMul(normal(1, 4, 5), normal(3, 5, 6)),
    tf.matMul(normal(3, 5, 4), normal(1, 5, 6), true, false),
  ],
  'dot products of vectors': () => tf.dot(normal(33), normal(33)),
  transposes: () => [
    tf.transpose(normal(33, 70)),
    tf.transpose(normal(3, 4, 5), [2, 0, 1]),
    tf.transpose(tf.reshape(ids(12, 12), [3, 4])),
    tf.transpose(normal(2, 3, 4, 5), [3, 1, 2, 0]),
  ],
  concatenations: () => [
    tf.concat([normal(2, 3), normal(4, 3)], 0),
    tf.concat([normal(2, 3), normal(2, 5)], 1),
    tf.concat([normal(2, 3, 2), normal(2, 1, 2)], 1),
    tf.stack([normal(3, 4), normal(3, 4), normal(3, 4)], 1),
    tf.concat([ids(4, 4), ids(5, 3)], 0),
  ],
  slices: () => [
    tf.slice(normal(7, 8), [2, 3], [4, 2]),
    tf.slice(normal(7, 8), [1, 0], [-1, 8]),
    tf.slice(normal(100), 90),
    tf.slice(normal(3, 4, 5), [1, 1, 1], [1, 2, 3]),
    ...tf.split(normal(6, 8), 2, 1),
    ...tf.split(normal(6, 8), [1, 2, 3]),
    ...tf.unstack(normal(3, 4), 1),
  ],
  'padding, tiling, broadcasting, reversing': () => [
    tf.pad(normal(2, 3), [
      [1, 2],
      [0, 3],
    ]),
    tf.pad(normal(4), [[2, 1]], 7),
    tf.tile(normal(2, 3), [3, 2]),
    tf.broadcastTo(normal(3, 1), [2, 3, 4]),
    tf.reverse(normal(4, 5), [0, 1]),
    tf.reverse(normal(4, 5, 2), 1),
  ],
  gathers: () => [
    tf.gather(normal(9, 4), ids(20, 9)),
    tf.gather(normal(9), ids(20, 9)),
    tf.gather(normal(9, 4), tf.reshape(ids(6, 9), [2, 3])),
    tf.gather(normal(3, 9), ids(5, 9), 1),
  ],
  'segment sums': () => tf.unsortedSegmentSum(normal(20, 4) as tf.Tensor2D, ids(20, 6), 7),
  reshapes: () => [tf.reshape(normal(6, 4), [3, -1]), tf.expandDims(normal(3, 4), 1), tf.squeeze(normal(3, 1))],
  'running sums': () => [
    tf.cumsum(normal(4, 5), 1),
    tf.cumsum(normal(4, 5), 0, true),
    tf.cumsum(normal(3, 4, 5), 1, false, true),
    tf.cumsum(normal(700), 0, true, true),
    tf.cumsum(ids(700, 9)),
    tf.cumsum(normal(0, 3), 1),
  ],
  'largest entries': () => [
    ...Object.values(tf.topk(normal(4, 9), 3)),
    ...Object.values(tf.topk(normal(2, 3, 300), 40)),
    ...Object.values(tf.topk(tf.cast(ids(30, 7), 'float32'), 30)),
    tf.argMax(normal(5, 600), 1),
    tf.argMax(tf.round(normal(5, 600)), -1),
    tf.argMax(normal(5, 6), 0),
    ...Object.values(tf.topk(normal(400), 300)),
    ...Object.values(tf.topk(ids(20, 20), 4)),
  ],
  'one-hot rows': () => [
    tf.oneHot(ids(4, 6), 6),
    tf.oneHot(ids(4, 6), 3, 0.5, -2, 'float32'),
    tf.oneHot(tf.reshape(ids(6, 4), [2, 3]), 4, 1, 0, 'bool'),
    tf.oneHot(tf.tensor1d([-1, 5, 2], 'int32'), 5),
  ],
  'operations only the CPU has': () => [tf.round(tf.mul(normal(9), 5)), tf.range(0, 10, 3), tf.erf(normal(7))],
};

describe.skipIf(missing !== undefined)(`stock operations${missing === undefined ? '' : ` (${missing})`}`, () => {
  beforeAll(useEmulatedDevice);

  test.each(Object.entries(cases))('%s', async (_, f) => {
    const first = seed;
    const expected = await valuesOn('cpu', f);
    seed = first;
    const actual = await valuesOn('cuda-emulated', f);
    expect(actual.map((values) => values.length)).toEqual(expected.map((values) => values.length));
    actual.forEach((values, output) => {
      values.forEach((value, i) => {
        const wanted = expected[output][i];
        const allowed = 2e-6 * (1 + Math.abs(wanted));
        expect(
          Object.is(value, wanted) || Math.abs(value - wanted) <= allowed,
          `${output}[${i}]: ${value}, not ${wanted}`,
        ).toBe(true);
      });
    });
  });

  test('gradients of stock operations run on the device', async () => {
    const loss = (): tf.Tensor => {
      const first = seed;
      const [w, x] = [normal(6, 4), normal(5, 6)];
      seed = first;
      const f = (weight: tf.Tensor): tf.Scalar =>
        tf.mean<tf.Scalar>(
          tf.square(tf.softmax(tf.tanh(tf.add(tf.matMul(x, weight), tf.slice(weight, [0, 0], [1, 4]))))),
        );
      return tf.grad(f)(w);
    };
    const [expected] = await valuesOn('cpu', loss);
    const [actual] = await valuesOn('cuda-emulated', loss);
    actual.forEach((value, i) => expect(value).toBeCloseTo(expected[i], 6));
  });

  test('an operation without a kernel is reported once, by name', async () => {
    const backend = await useEmulatedDevice();
    const warnings: string[] = [];
    const listen = (warning: Error): void =>
      void warnings.push(`${(warning as { code?: string }).code} ${warning.message}`);
    process.on('warning', listen);
    tf.tidy(() => {
      for (let i = 0; i < 3; i++) {
        const x = tf.tensor1d([3, 1, 2]);
        const result = backend.within('Atanh', () =>
          runOnHost('Atanh', { x: tf.mul(x, 0.1) }, {}, backend),
        ) as tf.TensorInfo;
        expect(backend.readSync(result.dataId)).toHaveLength(3);
        backend.disposeData(result.dataId, true);
      }
    });
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', listen);
    expect(
      warnings.filter((warning) => warning.startsWith('XGEN_CPU_FALLBACK') && warning.includes(' Atanh ')),
    ).toHaveLength(1);
  });
});
