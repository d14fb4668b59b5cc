import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CausalLanguageModel, packDocuments, type ModelConfig } from '../src/index.js';
import { presentBackends, useBackend } from './support/backends.js';
import { smallConfig } from './support/configs.js';
import { logSoftmax, referenceLogits } from './support/reference-decoder.js';
import { splitWeights } from './support/weights.js';

const cases: [string, Partial<ModelConfig>][] = [
  ['grouped queries, untied head', {}],
  ['one key-value head, tied head', { keyValueHeads: 1, tieWordEmbeddings: true }],
  ['as many key-value heads as query heads', { keyValueHeads: 4, layers: 1 }],
  ['head size apart from hidden / heads', { headDimension: 12, layers: 3 }],
  ['raised base', { rope: { base: 500000 } }],
  ['linear scaling', { rope: { base: 10000, scaling: { type: 'linear', factor: 4 } } }],
  [
    'YaRN',
    {
      headDimension: 16,
      maximumPositions: 256,
      rope: { base: 10000, scaling: { type: 'yarn', factor: 4, originalMaximumPositions: 64, betaFast: 8 } },
    },
  ],
  [
    'llama3',
    {
      rope: {
        base: 500000,
        scaling: {
          type: 'llama3',
          factor: 8,
          lowFrequencyFactor: 1,
          highFrequencyFactor: 4,
          originalMaximumPositions: 32,
        },
      },
    },
  ],
];

const documents = [[3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32], [1], [60, 0, 28, 18, 28, 45, 9]];

describe.each(await presentBackends())('golden logits on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  describe.each(cases)('%s', (_, overrides) => {
    let model: CausalLanguageModel;
    let expected: number[][];
    let tensorsBefore: number;

    beforeAll(() => {
      tensorsBefore = tf.memory().numTensors;
      const config = smallConfig(overrides);
      // A wide spread of weights, so that attention and gates are far from uniform.
      model = CausalLanguageModel.initialize(config, { seed: 7, standardDeviation: 0.3 });
      const weights = splitWeights(model);
      expected = documents.flatMap((tokens) => referenceLogits(model.config, weights, tokens));
    });
    afterAll(() => {
      model.dispose();
      expect(tf.memory().numTensors).toBe(tensorsBefore);
    });

    it('logits equal the float64 reference to 1e-5 of their size', () => {
      const logits = tf.tidy(() => model.logits(model.hiddenStates(packDocuments(documents))).arraySync());
      const size = Math.sqrt(expected.flat().reduce((sum, x) => sum + x * x, 0) / expected.flat().length);
      const worst = logits.flatMap((row, t) => row.map((x, v) => Math.abs(x - expected[t][v])));
      expect(Math.max(...worst) / size).toBeLessThan(1e-5);
    });

    it('chosen rows are rows of the whole', () => {
      const rows = Int32Array.of(19, 0, 12);
      const [some, all] = tf.tidy(() => {
        const hidden = model.hiddenStates(packDocuments(documents));
        return [model.logits(hidden, rows).arraySync(), model.logits(hidden).arraySync()];
      });
      rows.forEach((row, i) => some[i].forEach((x, v) => expect(x).toBeCloseTo(all[row][v], 4)));
    });

    it('log-probabilities of targets equal the reference, ignored places are 0', () => {
      const targets = Int32Array.from(documents.flatMap((tokens) => [...tokens.slice(1), -100]));
      const got = tf.tidy(() => model.logProbabilities(packDocuments(documents), targets).arraySync());
      targets.forEach((target, t) => {
        const want = target === -100 ? 0 : logSoftmax(expected[t])[target];
        expect(Math.abs(got[t] - want)).toBeLessThan(2e-5 * Math.max(1, Math.abs(want)));
      });
    });
  });
});
