/** Stock gradients against central differences, on every tfjs backend that computes in this process. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { initializeBackend } from '../backends/initialize-backend';
import { floats, type HostTensor, normal, seededNormal, toTensor } from '../conformance/host-tensor';
import { relativeError } from '../conformance/check-case';
import { valueAndGradients } from '../tape/value-and-gradients';

type Operation = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;
const ids = () => tf.tensor1d([2, 0, 2], 'int32');
const positive = (x: tf.Tensor): tf.Tensor => tf.add(tf.square(x), tf.scalar(0.5));

/** Name, operation, and where they differ the shapes of its two inputs. */
const operations: [name: string, operation: Operation, shapeA?: number[], shapeB?: number[]][] = [
  ['add', (a, b) => tf.add(a, b)],
  ['add, broadcast', (a, b) => tf.add(a, b), [3, 4], [4]],
  ['add to a scalar', (a, b) => tf.add(a, b), [], [3, 4]],
  ['addN', (a, b) => tf.addN([a, b, a])],
  ['sub, broadcast', (a, b) => tf.sub(a, b), [3, 1], [1, 4]],
  ['mul, broadcast', (a, b) => tf.mul(a, b), [2, 3, 4], [3, 1]],
  ['div', (a, b) => tf.div(a, positive(b))],
  ['squaredDifference', (a, b) => tf.squaredDifference(a, b)],
  ['maximum', (a, b) => tf.maximum(a, b)],
  ['minimum, broadcast', (a, b) => tf.minimum(a, b), [3, 4], []],
  ['pow', (a, b) => tf.pow(positive(a), b)],
  ['where', (a, b) => tf.where(tf.greater(a, tf.scalar(0)), a, b)],
  ['gather by an argMax', (a) => tf.gather(a, tf.argMax(a, 0))],
  ['neg', (a) => tf.neg(a)],
  ['abs', (a) => tf.abs(a)],
  ['exp', (a) => tf.exp(a)],
  ['expm1', (a) => tf.expm1(a)],
  ['log', (a) => tf.log(positive(a))],
  ['log1p', (a) => tf.log1p(positive(a))],
  ['sqrt', (a) => tf.sqrt(positive(a))],
  ['rsqrt', (a) => tf.rsqrt(positive(a))],
  ['reciprocal', (a) => tf.reciprocal(positive(a))],
  ['square', (a) => tf.square(a)],
  ['sigmoid', (a) => tf.sigmoid(a)],
  ['logSigmoid', (a) => tf.logSigmoid(a)],
  ['tanh', (a) => tf.tanh(a)],
  ['softplus', (a) => tf.softplus(a)],
  ['relu', (a) => tf.relu(a)],
  ['erf', (a) => tf.erf(a)],
  ['sin and cos', (a) => tf.mul(tf.sin(a), tf.cos(a))],
  ['clipByValue', (a) => tf.clipByValue(a, -0.5, 1)],
  [
    'floor, round, sign, step: no gradient',
    (a, b) => tf.add(b, tf.addN([tf.floor(a), tf.round(a), tf.sign(a), tf.step(a)])),
  ],
  ['cast and clone', (a) => tf.cast(tf.clone(a), 'float32')],
  ['sum of nothing', (a, b) => tf.add(tf.sum(b), tf.sum(tf.slice(a, [0, 0], [0, 4])))],
  ['sum', (a) => tf.sum(a)],
  ['sum over an axis', (a) => tf.mul(tf.sum(a, 0), tf.scalar(2))],
  ['sum, kept axis', (a) => tf.sum(a, -1, true)],
  ['mean', (a) => tf.mean(tf.square(a))],
  ['mean over axes', (a) => tf.mean(tf.square(a), [0, 2]), [2, 3, 4]],
  ['max', (a) => tf.max(a, 1)],
  ['min', (a) => tf.min(a)],
  ['softmax', (a) => tf.softmax(a)],
  ['logSoftmax', (a) => tf.logSoftmax(a)],
  ['logSumExp', (a) => tf.logSumExp(a, 1)],
  ['cumsum', (a) => tf.cumsum(a, 1, true, true)],
  ['norm', (a) => tf.norm(a)],
  ['reshape, expandDims, squeeze', (a) => tf.squeeze(tf.expandDims(tf.reshape(a, [4, 3]), 1))],
  ['broadcastTo', (a) => tf.broadcastTo(a, [2, 3, 4]), [3, 1]],
  ['transpose', (a) => tf.transpose(a, [2, 0, 1]), [2, 3, 4]],
  ['concat', (a, b) => tf.concat([a, b, a], 1), [3, 4], [3, 2]],
  ['stack', (a, b) => tf.stack([a, b], 1)],
  ['unstack', (a) => tf.mul(tf.unstack(a, 0)[1], tf.scalar(3))],
  ['split', (a) => tf.split(a, [1, 3], 1)[1]],
  ['slice', (a) => tf.slice(a, [1, 0], [2, 3])],
  [
    'pad',
    (a) =>
      tf.pad(a, [
        [1, 0],
        [0, 2],
      ]),
  ],
  ['reverse', (a) => tf.reverse(a, [1])],
  ['tile', (a) => tf.tile(a, [2, 3])],
  ['gather rows', (a) => tf.gather(a, ids())],
  ['gather columns', (a) => tf.gather(a, ids(), 1)],
  [
    'gather by a matrix',
    (a) =>
      tf.gather(
        a,
        tf.tensor2d(
          [
            [0, 1],
            [1, 1],
          ],
          [2, 2],
          'int32',
        ),
        1,
      ),
    [2, 3, 4],
  ],
  ['matMul', (a, b) => tf.matMul(a, b), [3, 4], [4, 5]],
  ['matMul, b transposed', (a, b) => tf.matMul(a, b, false, true), [3, 4], [5, 4]],
  ['matMul, a transposed', (a, b) => tf.matMul(a, b, true, false), [4, 3], [4, 5]],
  ['matMul, both transposed', (a, b) => tf.matMul(a, b, true, true), [4, 3], [5, 4]],
  ['matMul, batched', (a, b) => tf.matMul(a, b), [2, 3, 4], [2, 4, 5]],
  ['matMul, broadcast batch', (a, b) => tf.matMul(a, b, false, true), [2, 3, 4], [1, 5, 4]],
];

/** Values at odd tenths plus `offset`: no two inputs tie, and no step of the differences crosses a multiple of 1/2. */
function awayFromKinks(host: HostTensor, offset: number): HostTensor {
  return floats(
    host.shape,
    host.values.map((value) => (2 * Math.floor(5 * value) + 1) / 10 + offset),
  );
}

describe.each(['cpu', 'wasm'] as const)('stock gradients on %s', (backend) => {
  beforeAll(async () => {
    await initializeBackend({ preferred: backend });
  });

  test.each(operations)('%s', (_, operation, shapeA = [3, 4], shapeB = shapeA) => {
    const before = tf.memory().numTensors;
    const hosts = [awayFromKinks(normal(shapeA, 11), 0.04), awayFromKinks(normal(shapeB, 12), -0.06)];
    const variables = hosts.map((host) => tf.tidy(() => tf.variable(toTensor(host))));
    // A random projection makes every output element count.
    const value = (): tf.Scalar =>
      tf.tidy(() => {
        const output = operation(variables[0], variables[1]);
        const next = seededNormal(13);
        const weights = Float32Array.from({ length: output.size }, next);
        const unused = tf.mul(tf.sum(variables[1]), tf.scalar(0));
        return tf.add(tf.sum(tf.mul(output, tf.tensor(weights, output.shape))), unused);
      });
    const { value: scalar, gradients } = valueAndGradients(value, variables);
    hosts.forEach((host, which) => {
      const step = 1 / 64;
      const at = (index: number, amount: number): number => {
        const moved = Float32Array.from(host.values);
        moved[index] += amount;
        tf.tidy(() => void variables[which].assign(tf.tensor(moved, [...host.shape])));
        const result = value();
        const number = result.dataSync()[0];
        result.dispose();
        return number;
      };
      const expected = Float64Array.from(
        host.values,
        (_value, i) => (8 * (at(i, step) - at(i, -step)) - (at(i, 2 * step) - at(i, -2 * step))) / (12 * step),
      );
      const gradient = gradients.get(variables[which].name)!.dataSync();
      expect(relativeError(gradient, expected)).toBeLessThan(2e-3);
      tf.tidy(() => void variables[which].assign(toTensor(host)));
    });
    tf.dispose([scalar, ...gradients.values(), ...variables]);
    expect(tf.memory().numTensors, 'tensors leaked').toBe(before);
  });
});
