import { valueAndGradients } from '@xgen-small/kernels';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../../test/support/backend.js';
import { finiteDifferences, float64Parameters, logProbabilities } from '../../test/support/float64-decoder.js';
import { tinyModel, tinyTokenizer } from '../../test/support/tiny.mjs';
import { answerSequence } from './preference-sequences.js';
import {
  preferenceEvaluation,
  preferenceLoss,
  type PreferenceLossOptions,
  type ReferencedPair,
} from './preference-update.js';

beforeAll(startBackend);

const texts = [
  { prompt: '2+2', chosen: '#### 4', rejected: 'five', referenceChosen: -20.5, referenceRejected: -14 },
  { prompt: 'say hi', chosen: 'hi', rejected: 'no thanks', referenceChosen: -9, referenceRejected: -30.25 },
  { prompt: '9', chosen: 'nine', rejected: '9', referenceChosen: -13, referenceRejected: -7.5 },
];

const pairs: ReferencedPair[] = texts.map(({ prompt, chosen, rejected, ...reference }) => {
  const sequence = (content: string) =>
    answerSequence(tinyTokenizer, [{ role: 'user', content: prompt }], [{ role: 'assistant', content }]);
  return { chosen: sequence(chosen), rejected: sequence(rejected), ...reference };
});

const defaults: PreferenceLossOptions = {
  beta: 0.3,
  loss: 'sigmoid',
  labelSmoothing: 0,
  referenceFree: false,
  chosenLikelihoodWeight: 0,
  recompute: 'none',
  microBatchTokens: 1000,
};

const variants: Partial<PreferenceLossOptions>[] = [
  {},
  { labelSmoothing: 0.1 },
  { referenceFree: true },
  { loss: 'ipo' },
  { chosenLikelihoodWeight: 0.5 },
];

describe('the preference loss of a model', () => {
  it.each(variants)('equals a float64 implementation, and its gradient finite differences of that: %o', (variant) => {
    const options = { ...defaults, ...variant };
    const model = tinyModel(3);
    const parameters = float64Parameters(model);
    const loss64 = (): number => {
      let total = 0;
      for (const { chosen, rejected, referenceChosen, referenceRejected } of pairs) {
        const answers = [chosen, rejected].map(({ tokens, targetMask }) =>
          logProbabilities(model.config, parameters, tokens, targetMask.indexOf(1)),
        );
        const sums = answers.map((answer) => answer.reduce((a, b) => a + b, 0));
        const ratios = sums.map(
          (sum, i) => sum - (options.referenceFree ? 0 : [referenceChosen, referenceRejected][i]),
        );
        if (options.loss === 'ipo') {
          const h = ratios[0] / answers[0].length - ratios[1] / answers[1].length;
          total += (h - 1 / (2 * options.beta)) ** 2;
        } else {
          const z = options.beta * (ratios[0] - ratios[1]);
          total +=
            (1 - options.labelSmoothing) * Math.log(1 + Math.exp(-z)) +
            options.labelSmoothing * Math.log(1 + Math.exp(z));
        }
        total -= (options.chosenLikelihoodWeight * sums[0]) / answers[0].length;
      }
      return total / pairs.length;
    };
    const { value, gradients } = valueAndGradients(
      () => preferenceLoss(model, pairs, pairs.length, options),
      model.parameters.values(),
    );
    expect(value.dataSync()[0]).toBeCloseTo(loss64(), 4);
    const byName = new Map(
      [...model.parameters].map(([name, variable]) => [name, gradients.get(variable.name)!.dataSync()]),
    );
    for (const { name, index, slope } of finiteDifferences(parameters, loss64, 4)) {
      const gradient = byName.get(name)![index];
      expect(Math.abs(gradient - slope), `${name}[${index}]: ${gradient}, ${slope}`).toBeLessThan(
        2e-4 + 1e-3 * Math.abs(slope),
      );
    }
    tf.dispose([value, ...gradients.values()]);
    model.dispose();
  });

  it('adds up over micro-batches', () => {
    const model = tinyModel(3);
    const whole = preferenceEvaluation(model, pairs, defaults);
    const parts = preferenceEvaluation(model, pairs, { ...defaults, microBatchTokens: 1 });
    for (const [name, value] of Object.entries(whole)) expect(parts[name as keyof typeof parts]).toBeCloseTo(value, 5);
    const before = tf.memory().numTensors;
    preferenceEvaluation(model, pairs, defaults);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });
});
