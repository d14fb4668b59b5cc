import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { initializeBackend } from '../backends/initialize-backend';
import { KernelsError } from '../kernels-error';
import { checkpointed } from './checkpointed';
import { normalVariable, peakBytes } from './test-support';
import { valueAndGradients } from './value-and-gradients';

beforeAll(async () => {
  await initializeBackend({ preferred: 'cpu' });
});

type Block = (x: tf.Tensor, weight: tf.Variable) => tf.Tensor;

const block: Block = (x, weight) => {
  const y = tf.tanh(tf.matMul(x as tf.Tensor2D, weight as unknown as tf.Tensor2D));
  return tf.add(tf.mul(tf.mul(y, tf.sigmoid(y)), tf.exp(tf.neg(tf.square(y)))), x);
};

const stored: Block = block;
const recomputed: Block = (x, weight) => checkpointed((input) => block(input, weight), [x], [weight]);

function loss(layers: tf.Variable[], input: tf.Tensor, apply: Block): tf.Scalar {
  return tf.mean(tf.square(layers.reduce<tf.Tensor>((x, weight) => apply(x, weight), input)));
}

describe('checkpointed', () => {
  test('gives the same bits as the stored block, under both walks', () => {
    const layers = [1, 2, 3].map((seed) => normalVariable([12, 12], seed, 0.3));
    const input = tf.randomNormal([6, 12], 0, 1, 'float32', 4);
    const plain = valueAndGradients(() => loss(layers, input, stored), layers);
    const ours = valueAndGradients(() => loss(layers, input, recomputed), layers);
    const stock = tf.variableGrads(() => loss(layers, input, recomputed), layers);
    for (const { name } of layers) {
      const expected = plain.gradients.get(name)!.dataSync();
      expect(ours.gradients.get(name)!.dataSync()).toEqual(expected);
      expect(stock.grads[name].dataSync()).toEqual(expected);
    }
  });

  test('holds less memory, and leaks none', () => {
    const layers = Array.from({ length: 8 }, (_, seed) => normalVariable([32, 32], seed, 0.1));
    const input = tf.randomNormal([256, 32], 0, 1, 'float32', 4);
    const before = tf.memory().numTensors;
    const measure = (apply: Block): number =>
      peakBytes(() => tf.tidy(() => void valueAndGradients(() => loss(layers, input, apply), layers)));
    expect(measure(recomputed)).toBeLessThan(0.5 * measure(stored));
    expect(tf.memory().numTensors).toBe(before);
  });

  test('nests, takes several inputs and outputs, and leaves integers alone', () => {
    const [w, table] = [normalVariable([5, 5], 1), normalVariable([7, 5], 2)];
    const ids = tf.tensor1d([0, 6, 3, 3], 'int32');
    const halves = (x: tf.Tensor, rows: tf.Tensor): [tf.Tensor, tf.Tensor] => {
      const looked = tf.add(tf.gather(table as unknown as tf.Tensor2D, rows as tf.Tensor1D), x);
      const inner = (y: tf.Tensor): tf.Tensor => tf.matMul(y, w);
      return [inner(looked), tf.square(looked)];
    };
    const nested = (x: tf.Tensor, rows: tf.Tensor): [tf.Tensor, tf.Tensor] =>
      checkpointed(
        (a, b) => {
          const [first, second] = halves(a, b);
          return [
            checkpointed((y) => tf.tanh(tf.matMul(y as tf.Tensor2D, w as unknown as tf.Tensor2D)), [first], [w]),
            second,
          ];
        },
        [x, rows],
        [w, table],
      );
    const flat = (x: tf.Tensor, rows: tf.Tensor): [tf.Tensor, tf.Tensor] => {
      const [first, second] = halves(x, rows);
      return [tf.tanh(tf.matMul(first as tf.Tensor2D, w as unknown as tf.Tensor2D)), second];
    };
    const run = (f: typeof flat) =>
      valueAndGradients(() => {
        const x = tf.matMul(tf.ones([4, 5]), w);
        const [a, b] = f(x, ids);
        return tf.add(tf.sum(tf.mul(a, tf.scalar(2))), tf.mean(b));
      }, [w, table]);
    const [expected, actual] = [run(flat), run(nested)];
    expect(actual.value.dataSync()).toEqual(expected.value.dataSync());
    for (const { name } of [w, table]) {
      expect(actual.gradients.get(name)!.dataSync()).toEqual(expected.gradients.get(name)!.dataSync());
    }
  });

  test('an output that nothing used contributes nothing', () => {
    const w = normalVariable([3], 1);
    const { gradients } = valueAndGradients(() => {
      const [first] = checkpointed((x) => [tf.square(x), tf.exp(x)], [w]);
      return tf.sum(first);
    }, [w]);
    const expected = Array.from(w.dataSync(), (value) => Math.fround(2 * value));
    expect(Array.from(gradients.get(w.name)!.dataSync())).toEqual(expected);
  });

  test('a block may return its input', () => {
    const w = normalVariable([3], 1);
    const { gradients } = valueAndGradients(() => tf.sum(checkpointed((x) => x, [tf.square(w)])), [w]);
    expect(gradients.get(w.name)!.shape).toEqual([3]);
  });

  test('outside a differentiated function it just runs the block', () => {
    const before = tf.memory().numTensors;
    const y = tf.tidy(() => checkpointed((x) => tf.square(tf.add(x, x)), [tf.scalar(3)]));
    expect(y.dataSync()[0]).toBe(36);
    y.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test('names an unlisted variable instead of losing its gradient', () => {
    const [w, x] = [normalVariable([3, 3], 1), normalVariable([2, 3], 2)];
    const forgetful = () => valueAndGradients(() => tf.sum(checkpointed((input) => block(input, w), [x])), [w, x]);
    const before = tf.memory().numTensors;
    let error: unknown;
    try {
      forgetful();
    } catch (thrown) {
      error = thrown;
    }
    expect(KernelsError.isInstance(error) && error.code).toBe('UNLISTED_VARIABLE');
    expect((error as KernelsError).value).toBe(w.name);
    expect(tf.memory().numTensors).toBe(before);
    w.trainable = false;
    expect(() => valueAndGradients(() => tf.sum(checkpointed((input) => block(input, w), [x])), [x])).not.toThrow();
  });
});
