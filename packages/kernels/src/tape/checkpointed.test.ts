import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { initializeBackend } from '../backends/initialize-backend';
import { KernelsError } from '../kernels-error';
import { checkpointed, kept } from './checkpointed';
import { heldBytes, kernelsOf, normalVariable, peakBytes } from './test-support';
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
const recomputed: Block = (x, weight) => checkpointed(() => block(x, weight));

function loss(layers: tf.Variable[], input: tf.Tensor, apply: Block): tf.Scalar {
  return tf.mean(tf.square(layers.reduce<tf.Tensor>((x, weight) => apply(x, weight), input)));
}

describe('checkpointed', () => {
  test('gives the same bits as the stored block, under both walks', () => {
    const layers = [1, 2, 3].map((seed) => normalVariable([12, 12], seed, 0.3));
    const input = tf.randomNormal([6, 12], 0, 1, 'float32', 4);
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const plain = valueAndGradients(() => loss(layers, input, stored), layers);
      const ours = valueAndGradients(() => loss(layers, input, recomputed), layers);
      const stock = tf.variableGrads(() => loss(layers, input, recomputed), layers);
      for (const { name } of layers) {
        const expected = plain.gradients.get(name)!.dataSync();
        expect(ours.gradients.get(name)!.dataSync()).toEqual(expected);
        expect(stock.grads[name].dataSync()).toEqual(expected);
      }
    });
    expect(tf.memory().numTensors).toBe(before);
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

  test('holds what is marked, and runs again only what leads from there to what a gradient reads', () => {
    const w = normalVariable([8, 8], 1);
    // Of a chain, tanh and exp save their outputs, square its input; nothing reads the output of the last product.
    const chain = (mark: (x: tf.Tensor) => tf.Tensor) => (): tf.Tensor => {
      const x = tf.matMul(tf.ones([4, 8]), w);
      return tf.matMul(tf.square(tf.exp(mark(tf.tanh(x)))), w);
    };
    const run = (f: () => tf.Tensor): { held: number; again: string[]; gradient: number[] } =>
      tf.tidy(() => {
        let held = 0;
        let gradient: number[] = [];
        const again = kernelsOf((kernels) => {
          const before = heldBytes();
          const { gradients } = valueAndGradients(() => {
            const y = f();
            kernels.length = 0;
            held = heldBytes() - before - y.size * 4;
            return tf.sum(y);
          }, [w]);
          gradient = Array.from(gradients.get(w.name)!.dataSync());
        });
        return { held, again, gradient };
      });
    const plain = run(() => tf.tidy(chain((x) => x)));
    const bare = run(() => checkpointed(chain((x) => x)));
    const marked = run(() => checkpointed(chain(kept)));
    expect(bare.gradient).toEqual(plain.gradient);
    expect(marked.gradient).toEqual(plain.gradient);
    const row = 4 * 8 * 4;
    // The ones; tanh, exp and square. Then the ones alone; then the ones and tanh.
    expect([plain.held, bare.held, marked.held]).toEqual([4 * row, row, 2 * row]);
    const difference = (more: string[]): string[] => {
      const rest = [...more];
      for (const name of plain.again) rest.splice(rest.indexOf(name), 1);
      return rest.sort();
    };
    expect(difference(bare.again)).toEqual(['BatchMatMul', 'Exp', 'Square', 'Tanh'].sort());
    expect(difference(marked.again)).toEqual(['Exp', 'Square']);
  });

  test('nests, takes several inputs and outputs, and leaves integers alone', () => {
    const [w, table] = [normalVariable([5, 5], 1), normalVariable([7, 5], 2)];
    const ids = tf.tensor1d([0, 6, 3, 3], 'int32');
    type Wrap = <T extends tf.TensorContainer>(f: () => T) => T;
    const halves = (x: tf.Tensor, wrap: Wrap): [tf.Tensor, tf.Tensor] =>
      wrap(() => {
        const looked = tf.add(tf.gather(table as unknown as tf.Tensor2D, ids), x);
        const inner = wrap(() => tf.tanh(tf.matMul(tf.matMul(looked, w), w as unknown as tf.Tensor2D)));
        return [inner, tf.square(looked)];
      });
    const run = (wrap: Wrap) =>
      valueAndGradients(() => {
        const x = tf.matMul(tf.ones([4, 5]), w);
        const [a, b] = halves(x, wrap);
        return tf.add(tf.sum(tf.mul(a, tf.scalar(2))), tf.mean(b));
      }, [w, table]);
    const [expected, actual] = [run(tf.tidy), run(checkpointed)];
    expect(actual.value.dataSync()).toEqual(expected.value.dataSync());
    for (const { name } of [w, table]) {
      expect(actual.gradients.get(name)!.dataSync()).toEqual(expected.gradients.get(name)!.dataSync());
    }
  });

  test('computes the inside of other blocks again through gradients of the caller’s', () => {
    const w = normalVariable([3, 4], 1);
    const softSquare = tf.customGrad((x, save) => {
      const given = x as tf.Tensor;
      (save as unknown as (tensors: tf.Tensor[]) => void)([given]);
      return { value: tf.square(given), gradFunc: (dy, [saved]) => tf.mul(dy, tf.mul(2, saved)) };
    });
    const f = (): tf.Scalar => tf.sum(tf.mul(softSquare(tf.sin(tf.reshape(w, [4, 3]))), tf.reshape(w, [4, 3])));
    const run = (g: () => tf.Scalar): number[] =>
      Array.from(valueAndGradients(g, [w]).gradients.get(w.name)!.dataSync());
    expect(run(() => checkpointed(f))).toEqual(run(f));
  });

  test('an output that nothing used contributes nothing, and is not computed again', () => {
    const w = normalVariable([3], 1);
    const before = tf.memory().numTensors;
    const { value, gradients } = valueAndGradients(() => {
      const [first] = checkpointed(() => [tf.square(tf.neg(w)), tf.exp(tf.tanh(w))]);
      return tf.sum(first);
    }, [w]);
    const expected = Array.from(w.dataSync(), (x) => Math.fround(2 * x));
    expect(Array.from(gradients.get(w.name)!.dataSync())).toEqual(expected);
    tf.dispose([value, ...gradients.values()]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a block may return what it was given', () => {
    const w = normalVariable([3], 1);
    const { gradients } = valueAndGradients(() => {
      const x = tf.square(w);
      return tf.sum(checkpointed(() => kept(x)));
    }, [w]);
    expect(gradients.get(w.name)!.shape).toEqual([3]);
  });

  test('outside a differentiated function it just runs the block', () => {
    const before = tf.memory().numTensors;
    const y = tf.tidy(() => {
      const x = tf.scalar(3);
      return checkpointed(() => tf.square(kept(tf.add(x, x))));
    });
    expect(y.dataSync()[0]).toBe(36);
    y.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test('leaves nothing behind when the block or a gradient throws', () => {
    const w = normalVariable([3], 1);
    const before = tf.memory().numTensors;
    const broken = (): tf.Scalar =>
      tf.sum(
        checkpointed(() => {
          tf.exp(kept(tf.square(tf.tanh(w))));
          throw new Error('block');
        }),
      );
    expect(() => valueAndGradients(broken, [w])).toThrow('block');
    expect(tf.memory().numTensors).toBe(before);
    // An operation without gradient between others.
    const without = (): tf.Scalar => tf.sum(checkpointed(() => tf.exp(tf.cumprod(tf.tanh(w)))));
    let error: unknown;
    try {
      valueAndGradients(without, [w]);
    } catch (thrown) {
      error = thrown;
    }
    expect(KernelsError.isInstance(error) && error.code).toBe('NO_GRADIENT');
    expect(tf.memory().numTensors).toBe(before);
    const { value, gradients } = valueAndGradients(() => tf.sum(checkpointed(() => tf.exp(w))), [w]);
    expect(Array.from(gradients.get(w.name)!.dataSync())).toEqual(Array.from(tf.tidy(() => tf.exp(w).dataSync())));
    tf.dispose([value, ...gradients.values()]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('needs no list of variables: what is not asked for costs nothing, and nothing goes missing', () => {
    const [w, x] = [normalVariable([3, 3], 1), normalVariable([2, 3], 2)];
    const both = valueAndGradients(() => tf.sum(recomputed(x, w)), [w, x]);
    const one = valueAndGradients(() => tf.sum(recomputed(x, w)), [x]);
    expect(one.gradients.get(x.name)!.dataSync()).toEqual(both.gradients.get(x.name)!.dataSync());
    expect(
      both.gradients
        .get(w.name)!
        .dataSync()
        .some((value) => value !== 0),
    ).toBe(true);
  });
});
