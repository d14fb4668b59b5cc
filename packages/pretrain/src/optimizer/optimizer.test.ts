/** AdamW and accumulation against arithmetic in float64 and against a single batch. */
import * as tf from '@tensorflow/tfjs-core';
import { globalNormScale, initializeBackend, valueAndGradients } from '@xgen-small/kernels';
import { RandomGenerator } from '@xgen-small/model-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { accumulateGradients } from './accumulate-gradients';
import { createAdamW } from './adam-w';
import { optimizerVariables } from './optimizer';

beforeAll(async () => void (await initializeBackend()));

const random = new RandomGenerator(5);
const normals = (count: number): number[] => Array.from({ length: count }, () => Math.fround(random.normal()));

describe('createAdamW', () => {
  it('follows the recurrence in float64 over 25 steps, with decay on the matrix only and the gradient scaled', () => {
    const [beta1, beta2, epsilon, weightDecay] = [0.8, 0.9, 1e-6, 0.3];
    const optimizer = createAdamW({ beta1, beta2, epsilon, weightDecay });
    const reference = { matrix: normals(6), vector: normals(4) };
    const shapes = { matrix: [2, 3], vector: [4] } as const;
    const parameters = new Map(
      (['matrix', 'vector'] as const).map((name) => [
        name,
        tf.tidy(() => tf.variable(tf.tensor(reference[name], [...shapes[name]]))),
      ]),
    );
    const moments = {
      matrix: [new Float64Array(6), new Float64Array(6)],
      vector: [new Float64Array(4), new Float64Array(4)],
    };
    let state = optimizer.initialize(parameters);
    for (let step = 1; step <= 25; step++) {
      const learningRate = 0.1 / step;
      const raw = { matrix: normals(6), vector: normals(4) };
      const gradients = new Map([
        ['matrix', tf.tensor(raw.matrix, [2, 3])],
        ['vector', tf.tensor(raw.vector, [4])],
      ]);
      const { norm, scale } = globalNormScale([...gradients.values()], 0.5);
      const exactNorm = Math.hypot(...raw.matrix, ...raw.vector);
      expect(norm.dataSync()[0]).toBeCloseTo(exactNorm, 4);
      state = optimizer.update(state, parameters, gradients, { learningRate, gradientScale: scale });
      tf.dispose([...gradients.values(), norm, scale]);
      for (const name of ['matrix', 'vector'] as const) {
        const [first, second] = moments[name];
        raw[name].forEach((gradient, i) => {
          const g = gradient * Math.min(1, 0.5 / exactNorm);
          first[i] = beta1 * first[i] + (1 - beta1) * g;
          second[i] = beta2 * second[i] + (1 - beta2) * g * g;
          const direction = first[i] / (1 - beta1 ** step) / (Math.sqrt(second[i] / (1 - beta2 ** step)) + epsilon);
          reference[name][i] *= name === 'matrix' ? 1 - learningRate * weightDecay : 1;
          reference[name][i] -= learningRate * direction;
        });
        parameters
          .get(name)!
          .dataSync()
          .forEach((value, i) => expect(value).toBeCloseTo(reference[name][i], 4));
      }
    }
    expect(state.step).toBe(25);
    expect([...optimizerVariables(state).keys()]).toEqual([
      'firstMoments.matrix',
      'firstMoments.vector',
      'secondMoments.matrix',
      'secondMoments.vector',
    ]);
    optimizer.dispose(state);
    tf.dispose([...parameters.values()]);
  });

  it('names the parameter that has no gradient', () => {
    const optimizer = createAdamW();
    const parameters = new Map([['weight', tf.variable(tf.ones([2]))]]);
    const state = optimizer.initialize(parameters);
    expect(() => optimizer.update(state, parameters, new Map(), { learningRate: 1 })).toThrow(
      /There is no gradient for the parameter weight/,
    );
    optimizer.dispose(state);
  });
});

describe('accumulateGradients', () => {
  it('sums the gradients of a single pass, and leaks nothing, also when a loss throws', async () => {
    const weight = tf.tidy(() => tf.variable(tf.tensor(normals(12), [3, 4])));
    const inputs = Array.from({ length: 5 }, () => tf.tensor(normals(6), [2, 3]));
    const before = tf.memory().numTensors;
    const loss = (x: tf.Tensor): tf.Scalar => tf.sum(tf.square(tf.matMul(x, weight)));
    const { losses, gradients } = await accumulateGradients({
      parameters: new Map([['weight', weight]]),
      microBatches: 5,
      loss: (i) => loss(inputs[i]),
    });
    const whole = valueAndGradients(() => loss(tf.concat(inputs)), [weight]);
    const [summed, single] = [gradients.get('weight')!, whole.gradients.get(weight.name)!];
    expect(losses.reduce((sum, value) => sum + value.dataSync()[0], 0)).toBeCloseTo(whole.value.dataSync()[0], 3);
    summed.dataSync().forEach((value, i) => expect(value).toBeCloseTo(single.dataSync()[i], 4));
    tf.dispose([...losses, summed, single, whole.value]);
    expect(tf.memory().numTensors).toBe(before);
    const failing = accumulateGradients({
      parameters: new Map([['weight', weight]]),
      microBatches: 5,
      loss: (i) => {
        if (i === 3) throw new Error('stop');
        return loss(inputs[i]);
      },
    });
    await expect(failing).rejects.toThrow('stop');
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([weight, ...inputs]);
  });
});
