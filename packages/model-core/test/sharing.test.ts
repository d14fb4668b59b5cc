import * as tf from '@tensorflow/tfjs-core';
import { adamW } from '@xgen-small/kernels';
import { describe, expect, it } from 'vitest';
import { CausalLanguageModel } from '../src/index.js';
import { presentBackends, useBackend } from './support/backends.js';
import { smallConfig } from './support/configs.js';

const backends = await presentBackends();
const values = (model: CausalLanguageModel): number[][] =>
  [...model.parameters.values()].map((variable) => Array.from(variable.dataSync()));

describe('withRope', () => {
  it('shares the variables; the last of the models frees them', async () => {
    await useBackend('cpu');
    const before = tf.memory().numTensors;
    const model = CausalLanguageModel.initialize(smallConfig(), { seed: 1 });
    const count = tf.memory().numTensors;
    const longer = model.withRope({ base: 10000, scaling: { type: 'yarn', factor: 4 } }, 256);
    expect(tf.memory().numTensors).toBe(count);
    expect(longer.parameters.get('model.norm.weight')).toBe(model.parameters.get('model.norm.weight'));
    expect(longer.config).toMatchObject({
      maximumPositions: 256,
      rope: { scaling: { originalMaximumPositions: 64 } },
    });
    model.dispose();
    model.dispose();
    expect(() => model.outputWeight).toThrow(/disposed/);
    expect(tf.memory().numTensors).toBe(count);
    expect(longer.outputWeight.shape).toEqual([61, 32]);
    longer.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('clone', () => {
  it.each(backends)('has values of its own on %s, even under an optimizer that works in place', async (name) => {
    await useBackend(name);
    const model = CausalLanguageModel.initialize(smallConfig(), { seed: 1 });
    const copy = model.clone();
    const before = values(model);
    expect(values(copy)).toEqual(before);
    const parameters = [...model.parameters.values()];
    const moments = (): tf.Variable[] =>
      parameters.map(({ shape }) => tf.tidy(() => tf.variable(tf.zeros(shape), false)));
    const [firstMoments, secondMoments] = [moments(), moments()];
    tf.tidy(() => {
      const gradients = parameters.map((variable) => tf.onesLike(variable));
      const weightDecay = parameters.map(() => 0);
      const state = { parameters, firstMoments, secondMoments };
      adamW(state, gradients, { learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay, step: 1 });
    });
    expect(values(model)).not.toEqual(before);
    expect(values(copy)).toEqual(before);
    model.dispose();
    expect(values(copy)).toEqual(before);
    copy.dispose();
    tf.dispose([...firstMoments, ...secondMoments]);
  });
});
