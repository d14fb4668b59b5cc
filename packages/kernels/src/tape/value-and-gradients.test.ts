import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { initializeBackend } from '../backends/initialize-backend';
import { KernelsError } from '../kernels-error';
import { acceptMissingGradients, isMissing } from './missing-gradients';
import { normalVariable, peakBytes } from './test-support';
import { valueAndGradients } from './value-and-gradients';

beforeAll(async () => {
  await initializeBackend({ preferred: 'cpu' });
});

let tensorsBefore = 0;
beforeEach(() => {
  tf.engine().startScope();
  tensorsBefore = tf.memory().numTensors;
});
afterEach(() => {
  tf.engine().endScope();
  tf.disposeVariables();
});

/** A stack of layers that forks and joins, so that gradients accumulate. */
function stack(layers: tf.Variable[], input: tf.Tensor2D): tf.Scalar {
  let x: tf.Tensor = input;
  for (const weight of layers) {
    const input = x as tf.Tensor2D;
    x = tf.tidy(() => {
      const y = tf.tanh(tf.matMul(input, weight as tf.Tensor2D));
      return tf.add(tf.mul(y, tf.sigmoid(y)), input);
    });
  }
  return tf.mean(tf.square(x));
}

function errorOf(f: () => unknown): KernelsError {
  try {
    f();
  } catch (error) {
    if (KernelsError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('valueAndGradients', () => {
  test('gives the same bits as variableGrads, and leaks nothing', () => {
    const layers = [1, 2, 3, 4].map((seed) => normalVariable([16, 16], seed, 0.3));
    const input = tf.randomNormal<tf.Rank.R2>([8, 16], 0, 1, 'float32', 5);
    const before = tf.memory().numTensors;
    const ours = valueAndGradients(() => stack(layers, input), layers);
    const stock = tf.variableGrads(() => stack(layers, input), layers);
    expect(ours.value.dataSync()).toEqual(stock.value.dataSync());
    for (const { name } of layers) expect(ours.gradients.get(name)?.dataSync()).toEqual(stock.grads[name].dataSync());
    tf.dispose([ours.value, ...ours.gradients.values(), stock.value, stock.grads]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('peaks well below variableGrads', () => {
    const layers = Array.from({ length: 12 }, (_, seed) => normalVariable([64, 64], seed, 0.1));
    const input = tf.randomNormal<tf.Rank.R2>([256, 64], 0, 1, 'float32', 5);
    const ours = peakBytes(() => tf.tidy(() => void valueAndGradients(() => stack(layers, input), layers)));
    const stock = peakBytes(() => tf.tidy(() => void tf.variableGrads(() => stack(layers, input), layers)));
    expect(ours).toBeLessThan(0.75 * stock);
  });

  test('returns zeros for a variable that the value does not depend on', () => {
    const [used, unused] = [normalVariable([3], 1), normalVariable([2, 2], 2)];
    const { gradients } = valueAndGradients(() => tf.sum(used), [used, unused]);
    expect(Array.from(gradients.get(used.name)!.dataSync())).toEqual([1, 1, 1]);
    expect(gradients.get(unused.name)!.shape).toEqual([2, 2]);
    expect(Array.from(gradients.get(unused.name)!.dataSync())).toEqual([0, 0, 0, 0]);
  });

  test('a variable that is used several times gets the sum', () => {
    const x = normalVariable([3], 1);
    const { gradients } = valueAndGradients(() => tf.sum(tf.add(tf.mul(x, x), tf.add(x, x))), [x]);
    const expected = Array.from(x.dataSync(), (value) => Math.fround(Math.fround(2 * value) + 2));
    Array.from(gradients.get(x.name)!.dataSync()).forEach((value, i) => expect(value).toBeCloseTo(expected[i], 5));
  });

  test('survives gradient functions that hand back their own arguments', () => {
    const [a, b] = [normalVariable([4], 1), normalVariable([4], 2)];
    // Both gradients are dy itself: freeing dy after the node must not free them.
    const share = tf.customGrad((x, y) => ({
      value: tf.add(x as tf.Tensor, y as tf.Tensor),
      gradFunc: (dy) => [dy, dy],
    }));
    const { gradients } = valueAndGradients(() => tf.sum(tf.mul(share(a, b), tf.scalar(3))), [a, b]);
    expect(Array.from(gradients.get(a.name)!.dataSync())).toEqual([3, 3, 3, 3]);
    expect(Array.from(gradients.get(b.name)!.dataSync())).toEqual([3, 3, 3, 3]);
    gradients.get(a.name)!.dispose();
    expect(gradients.get(b.name)!.isDisposed).toBe(false);
  });

  test('outputs that nothing used arrive as a marker where declared, as zeros elsewhere', () => {
    const seen: boolean[] = [];
    for (const kernelName of ['TestTwoOutputsMarked', 'TestTwoOutputsZeroed']) {
      tf.registerKernel({
        kernelName,
        backendName: 'cpu',
        kernelFunc: ({ inputs }) => [tf.clone(inputs.x as tf.Tensor), tf.clone(inputs.x as tf.Tensor)],
      });
      tf.registerGradient({
        kernelName,
        gradFunc: (dys) => {
          const [dy, unused] = dys as tf.Tensor[];
          seen.push(isMissing(unused));
          return { x: () => (isMissing(unused) ? tf.clone(dy) : tf.add(dy, unused)) };
        },
      });
    }
    acceptMissingGradients('TestTwoOutputsMarked');
    const x = normalVariable([2], 1);
    for (const kernelName of ['TestTwoOutputsMarked', 'TestTwoOutputsZeroed']) {
      const { gradients } = valueAndGradients(() => {
        const [first] = tf.engine().runKernel(kernelName, { x }) as unknown as tf.Tensor[];
        return tf.sum(first);
      }, [x]);
      expect(Array.from(gradients.get(x.name)!.dataSync())).toEqual([1, 1]);
    }
    expect(seen).toEqual([true, false]);
  });

  describe('frees everything when', () => {
    const weight = () => normalVariable([4, 4], 1);
    const input = () => tf.ones<tf.Rank.R2>([2, 4]);

    test('the function throws', () => {
      const [w, x] = [weight(), input()];
      const before = tf.memory().numTensors;
      expect(() =>
        valueAndGradients(() => {
          stack([w], x);
          throw new Error('on purpose');
        }, [w]),
      ).toThrow('on purpose');
      expect(tf.memory().numTensors).toBe(before);
      expect(tf.engine().state.gradientDepth).toBe(0);
      // And the next step works.
      valueAndGradients(() => stack([w], x), [w]);
    });

    test('a gradient function throws', () => {
      const [w, x] = [weight(), input()];
      const failing = tf.customGrad((y) => ({
        value: tf.clone(y as tf.Tensor),
        gradFunc: () => {
          throw new Error('backward on purpose');
        },
      }));
      const before = tf.memory().numTensors;
      expect(() => valueAndGradients(() => tf.sum(failing(tf.matMul(x, w as unknown as tf.Tensor2D))), [w])).toThrow(
        'backward on purpose',
      );
      expect(tf.memory().numTensors).toBe(before);
    });

    test('an operation has no gradient', () => {
      const w = weight();
      const before = tf.memory().numTensors;
      const error = errorOf(() => valueAndGradients(() => tf.sum(tf.asinh(w)), [w]));
      expect(error.code).toBe('NO_GRADIENT');
      expect(error.value).toBe('Asinh');
      expect(tf.memory().numTensors).toBe(before);
    });

    test('a gradient has the wrong shape', () => {
      const w = weight();
      const before = tf.memory().numTensors;
      const wrong = tf.customGrad((y) => ({ value: tf.sum(y as tf.Tensor), gradFunc: (dy) => dy }));
      expect(errorOf(() => valueAndGradients(() => wrong(w) as tf.Scalar, [w])).code).toBe('WRONG_GRADIENT');
      expect(tf.memory().numTensors).toBe(before);
    });

    test.each([
      ['a vector', () => tf.ones([2])],
      ['an integer', () => tf.scalar(1, 'int32')],
      ['a number', () => 3 as unknown as tf.Tensor],
      ['a promise', () => Promise.resolve(1) as unknown as tf.Tensor],
    ])('the function returns %s', (_, f) => {
      const w = weight();
      const before = tf.memory().numTensors;
      expect(errorOf(() => valueAndGradients(f as () => tf.Scalar, [w])).code).toBe('WRONG_VALUE');
      expect(tf.memory().numTensors).toBe(before);
    });
  });

  test('refuses no variables, a value without variables, and gradients of gradients', () => {
    const w = normalVariable([2], 1);
    expect(errorOf(() => valueAndGradients(() => tf.scalar(1), [])).code).toBe('NO_VARIABLES');
    expect(errorOf(() => valueAndGradients(() => tf.scalar(1), [w])).code).toBe('NO_GRADIENT_PATH');
    const nested = () => valueAndGradients(() => valueAndGradients(() => tf.sum(w), [w]).value, [w]);
    expect(errorOf(nested).code).toBe('NESTED_GRADIENT');
    expect(tf.engine().state.gradientDepth).toBe(0);
  });

  test('keeps memory flat over many steps', () => {
    const layers = [1, 2].map((seed) => normalVariable([8, 8], seed, 0.3));
    const input = tf.ones<tf.Rank.R2>([4, 8]);
    const counts = Array.from({ length: 50 }, () => {
      tf.tidy(() => void valueAndGradients(() => stack(layers, input), layers));
      return tf.memory().numTensors;
    });
    expect(new Set(counts).size).toBe(1);
    expect(tensorsBefore).toBeLessThanOrEqual(counts[0]);
  });
});
