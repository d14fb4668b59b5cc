import { valueAndGradients } from '@xgen-small/kernels';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../../test/support/backend.js';
import {
  finiteDifferences,
  float64Parameters,
  hiddenStates,
  logProbabilities,
  type Parameters,
} from '../../test/support/float64-decoder.js';
import { tinyModel } from '../../test/support/tiny.mjs';
import { proximalPolicyLoss } from '../losses/proximal-policy-loss.js';
import type { RolloutSample } from '../rollout/rollout.js';
import { parseStage, proximalPolicyOptimizationStageSchema } from '../run/stage-schemas.js';
import { proximalPolicyObjective, type Rollouts } from './policy-update.js';
import { ValueFunction, type ValueTrunk } from './value-function.js';

beforeAll(startBackend);

const clipRange = 0.2;
const valueClipRange = 0.3;

const answers = [
  { prompt: [2, 6, 14, 7, 0, 3], completion: [9, 10, 0] },
  { prompt: [2, 5, 0, 3], completion: [30, 4, 22, 11, 0] },
  { prompt: [2, 20, 21, 22, 0, 3], completion: [8] },
];

const samples: RolloutSample[] = answers.map(({ prompt, completion }) => ({
  prompt: { prompt: [{ role: 'user', content: '' }] },
  promptTokens: Int32Array.from(prompt),
  completionTokens: Int32Array.from(completion),
  logProbabilities: new Float32Array(completion.length),
  completion: { text: '', tokens: completion.length, finishReason: 'stop' },
}));

const wave = (count: number, seed: number, scale: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.sin(7.3 * (i + 1) + 11.7 * seed) * scale);

describe.each<[ValueTrunk, number]>([
  ['shared', 1],
  ['detached', 1],
  ['separate', 0.7],
])('the PPO objective, value trunk %s, temperature %s', (trunk, temperature) => {
  it('equals a float64 implementation, and its gradient finite differences of that', () => {
    const model = tinyModel(4);
    const valueFunction = new ValueFunction(model, trunk);
    const head = valueFunction.parameters;
    // Away from zero, so that gradients reach the trunk.
    tf.tidy(() => {
      head.get('value_head.weight')!.assign(tf.tensor2d(wave(16, 1, 0.4), [1, 16]));
      head.get('value_head.bias')!.assign(tf.tensor1d([0.1]));
    });
    const parameters = float64Parameters(model);
    const headWeight = { rows: 1, columns: 16, values: Float64Array.from(head.get('value_head.weight')!.dataSync()) };
    const headBias = { rows: 1, columns: 1, values: Float64Array.from(head.get('value_head.bias')!.dataSync()) };
    const separate: Parameters | undefined = trunk === 'separate' ? float64Parameters(model) : undefined;
    const frozen = float64Parameters(model);

    const stage = parseStage('ppo', proximalPolicyOptimizationStageSchema, {
      learningRate: 1e-3,
      iterations: 1,
      promptsPerIteration: 3,
      maximumNewTokens: 5,
      minibatches: 1,
      clipRange,
      valueClipRange,
      valueCoefficient: 0.7,
      valueTrunk: trunk,
      temperature,
    });
    const current = samples.map(({ promptTokens, completionTokens }) =>
      logProbabilities(
        model.config,
        parameters,
        [...promptTokens, ...completionTokens],
        promptTokens.length,
        temperature,
      ),
    );
    const valuesOf = (from: Parameters): number[] =>
      samples.flatMap(({ promptTokens, completionTokens }) => {
        const hidden = hiddenStates(model.config, from, [...promptTokens, ...completionTokens]);
        return Array.from(completionTokens, (_, t) =>
          hidden[promptTokens.length + t - 1].reduce((sum, x, i) => sum + x * headWeight.values[i], headBias.values[0]),
        );
      });
    const count = current.flat().length;
    // Ratios and value steps on both sides of their clips, none near an edge of one.
    const shifts = [0.1, -0.15, 0.45, -0.5, 0.05, 0.3, -0.35, 0.12, 0];
    const rollouts: Rollouts = {
      samples,
      tokens: {
        offsets: Int32Array.of(0, 3, 8, 9),
        oldLogProbabilities: Float32Array.from(current.flat(), (logProbability, i) => logProbability - shifts[i]),
        referenceLogProbabilities: new Float32Array(count),
        oldValues: Float32Array.from(valuesOf(parameters), (value, i) => value - shifts[(i + 4) % 9] * 1.3),
        logProbabilityMismatch: 0,
      },
      advantages: {
        advantages: Float64Array.from(wave(count, 3, 1.5)),
        returns: Float64Array.from(wave(count, 5, 2)),
        referenceKl: 0,
      },
    };

    const loss64 = (): number => {
      const now = samples.flatMap(({ promptTokens, completionTokens }) =>
        logProbabilities(
          model.config,
          parameters,
          [...promptTokens, ...completionTokens],
          promptTokens.length,
          temperature,
        ),
      );
      const values = valuesOf(trunk === 'detached' ? frozen : (separate ?? parameters));
      const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);
      let total = 0;
      for (let i = 0; i < count; i++) {
        const ratio = Math.exp(now[i] - rollouts.tokens.oldLogProbabilities[i]);
        const advantage = rollouts.advantages.advantages[i];
        total -= Math.min(ratio * advantage, clamp(ratio, 1 - clipRange, 1 + clipRange) * advantage);
        const target = rollouts.advantages.returns[i];
        const old = rollouts.tokens.oldValues[i];
        const limited = old + clamp(values[i] - old, -valueClipRange, valueClipRange);
        total += 0.7 * 0.5 * Math.max((values[i] - target) ** 2, (limited - target) ** 2);
      }
      return total / count;
    };

    const all = new Map([...model.parameters, ...valueFunction.parameters]);
    const { value, gradients } = valueAndGradients(
      () =>
        tf.add(
          // In two parts, as two micro-batches would be.
          proximalPolicyObjective({ model, valueFunction }, rollouts, [2, 0], count, stage, proximalPolicyLoss),
          proximalPolicyObjective({ model, valueFunction }, rollouts, [1], count, stage, proximalPolicyLoss),
        ),
      all.values(),
    );
    expect(value.dataSync()[0]).toBeCloseTo(loss64(), 5);
    const check = (from: Parameters, prefix = '') => {
      let largest = 0;
      for (const { name, index, slope } of finiteDifferences(from, loss64, 4)) {
        const variable = all.get(`${prefix}${name}`)!;
        const gradient = gradients.get(variable.name)!.dataSync()[index];
        expect(Math.abs(gradient - slope), `${prefix}${name}[${index}]: ${gradient}, ${slope}`).toBeLessThan(
          2e-4 + 1e-3 * Math.abs(slope),
        );
        largest = Math.max(largest, Math.abs(slope));
      }
      expect(largest).toBeGreaterThan(0.01);
    };
    check(parameters);
    check(
      new Map([
        ['value_head.weight', headWeight],
        ['value_head.bias', headBias],
      ]),
    );
    if (separate !== undefined) check(separate, 'value_trunk.');
    tf.dispose([value, ...gradients.values()]);
    valueFunction.dispose();
    model.dispose();
    expect(tf.memory().numTensors).toBe(0);
  });
});
