import * as tf from '@tensorflow/tfjs-core';
import { valueAndGradients } from '@xgen-small/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CausalLanguageModel, packDocuments, RandomGenerator, type Recompute } from '../src/index.js';
import { presentBackends, useBackend } from './support/backends.js';
import { smallConfig } from './support/configs.js';
import { logSoftmax, referenceLogits, type Weights } from './support/reference-decoder.js';
import { splitWeights } from './support/weights.js';

const documents = [
  [3, 14, 15, 9, 26, 5],
  [28, 18, 28],
];
const targets = Int32Array.from(documents.flatMap((tokens) => [...tokens.slice(1), -100]));

/** The mean loss in float64, by the reference. */
function referenceLoss(model: CausalLanguageModel, weights: Weights): number {
  const rows = documents.flatMap((tokens) => referenceLogits(model.config, weights, tokens));
  let sum = 0;
  let count = 0;
  targets.forEach((target, t) => {
    if (target === -100) return;
    sum -= logSoftmax(rows[t])[target];
    count++;
  });
  return sum / count;
}

describe.each(await presentBackends())('gradients on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  describe.each([true, false])('tied head: %s', (tieWordEmbeddings) => {
    let model: CausalLanguageModel;
    const loss = (recompute: Recompute) => (): tf.Scalar => {
      const logProbabilities = model.logProbabilities(packDocuments(documents), targets, { recompute });
      const total = tf.sum<tf.Scalar>(logProbabilities);
      return tf.mul(total, -1 / targets.filter((target) => target !== -100).length);
    };

    beforeAll(() => {
      const config = smallConfig({ tieWordEmbeddings });
      model = CausalLanguageModel.initialize(config, { seed: 5, standardDeviation: 0.2 });
    });
    afterAll(() => model.dispose());

    it('equal finite differences of the float64 reference', () => {
      const weights = splitWeights(model);
      const { value, gradients } = valueAndGradients(loss('none'), [...model.parameters.values()]);
      const base = new Map<string, Float64Array>();
      const perturbed: Weights = (name) => base.get(name) ?? weights(name);
      expect(Math.abs(value.dataSync()[0] - referenceLoss(model, perturbed))).toBeLessThan(1e-5);
      const random = new RandomGenerator(1);
      // [file name, fused name, first row of the part in it]
      const { headDimension: hd, queryHeads, keyValueHeads, intermediateSize } = model.config;
      const checks: [string, string, number][] = [
        ['model.embed_tokens.weight', 'model.embed_tokens.weight', 0],
        ['model.layers.0.input_layernorm.weight', 'model.layers.0.input_layernorm.weight', 0],
        ['model.layers.0.self_attn.q_proj.weight', 'model.layers.0.self_attn.qkv_proj.weight', 0],
        ['model.layers.0.self_attn.k_proj.weight', 'model.layers.0.self_attn.qkv_proj.weight', queryHeads * hd],
        [
          'model.layers.1.self_attn.v_proj.weight',
          'model.layers.1.self_attn.qkv_proj.weight',
          (queryHeads + keyValueHeads) * hd,
        ],
        ['model.layers.1.self_attn.o_proj.weight', 'model.layers.1.self_attn.o_proj.weight', 0],
        ['model.layers.0.post_attention_layernorm.weight', 'model.layers.0.post_attention_layernorm.weight', 0],
        ['model.layers.0.mlp.gate_proj.weight', 'model.layers.0.mlp.gate_up_proj.weight', 0],
        ['model.layers.1.mlp.up_proj.weight', 'model.layers.1.mlp.gate_up_proj.weight', intermediateSize],
        ['model.layers.1.mlp.down_proj.weight', 'model.layers.1.mlp.down_proj.weight', 0],
        ['model.norm.weight', 'model.norm.weight', 0],
        ...(tieWordEmbeddings ? [] : [['lm_head.weight', 'lm_head.weight', 0] as [string, string, number]]),
      ];
      for (const [fileName, fusedName, firstRow] of checks) {
        const variable = model.parameters.get(fusedName)!;
        const gradient = gradients.get(variable.name)!.dataSync();
        const columns = variable.shape[1] ?? 1;
        const original = Float64Array.from(weights(fileName));
        for (let sample = 0; sample < 3; sample++) {
          // Embedding rows of absent tokens have no gradient: look at a token that is there.
          const index = fileName.includes('embed') ? 28 * columns + sample : random.integer(original.length);
          const step = 1e-5;
          const at = (offset: number): number => {
            base.set(
              fileName,
              Float64Array.from(original, (x, i) => (i === index ? x + offset : x)),
            );
            const result = referenceLoss(model, perturbed);
            base.delete(fileName);
            return result;
          };
          const expected = (at(step) - at(-step)) / (2 * step);
          const got = gradient[firstRow * columns + index];
          expect(Math.abs(got - expected), `${fileName}[${index}]`).toBeLessThan(1e-5 + 1e-4 * Math.abs(expected));
        }
      }
      tf.dispose([value, ...gradients.values()]);
    });

    it.each<[Recompute]>([
      ['elementwise'],
      ['feedForward'],
      ['allButAttention'],
      ['block'],
      [{ block: 1, none: 1 }],
      [{ elementwise: 1, feedForward: 1 }],
    ])('recompute %o gives the same bits, and no tensor stays behind', (recompute) => {
      const variables = [...model.parameters.values()];
      const before = tf.memory().numTensors;
      const kept = valueAndGradients(loss('none'), variables);
      const recomputed = valueAndGradients(loss(recompute), variables);
      expect(recomputed.value.dataSync()).toEqual(kept.value.dataSync());
      for (const [name, gradient] of kept.gradients) {
        expect(recomputed.gradients.get(name)!.dataSync(), name).toEqual(gradient.dataSync());
      }
      for (const { value, gradients } of [kept, recomputed]) tf.dispose([value, ...gradients.values()]);
      expect(tf.memory().numTensors).toBe(before);
    });
  });
});
