import * as tf from '@tensorflow/tfjs-core';
import { valueAndGradients } from '@xgen-small/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CausalLanguageModel, packDocuments, parameterCount, recomputeModes, type PackedBatch } from '../src/index.js';
import { presentBackends, useBackend } from './support/backends.js';
import { smallConfig } from './support/configs.js';

describe.each(await presentBackends())('training steps on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(recomputeModes)('learn a sequence with flat memory (recompute %s)', (recompute) => {
    const model = CausalLanguageModel.initialize(smallConfig({ tieWordEmbeddings: true }), { seed: 3 });
    const variables = [...model.parameters.values()];
    const document = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    const batch = packDocuments([document, document.slice(3)]);
    const targets = Int32Array.from([...document.slice(1), -100, ...document.slice(4), -100]);
    const memory: number[] = [];
    const losses: number[] = [];
    for (let step = 0; step < 40; step++) {
      const loss = (): tf.Scalar => tf.neg(tf.mean<tf.Scalar>(model.logProbabilities(batch, targets, { recompute })));
      const { value, gradients } = valueAndGradients(loss, variables);
      losses.push(value.dataSync()[0]);
      tf.tidy(() => {
        for (const variable of variables) variable.assign(tf.sub(variable, tf.mul(gradients.get(variable.name)!, 0.5)));
      });
      tf.dispose([value, ...gradients.values()]);
      memory.push(tf.memory().numTensors, tf.memory().numBytes);
    }
    model.dispose();
    expect(new Set(memory.filter((_, i) => i % 2 === 0)).size).toBe(1);
    expect(new Set(memory.filter((_, i) => i % 2 === 1)).size).toBe(1);
    expect(losses.at(-1)).toBeLessThan(losses[0] / 3);
  });
});

describe('initial parameters', () => {
  beforeAll(() => useBackend('cpu'));
  let model: CausalLanguageModel;
  afterAll(() => model.dispose());

  it('have the documented spread, whatever is fused with what', () => {
    const config = smallConfig({ hiddenSize: 64, intermediateSize: 256, layers: 3 });
    model = CausalLanguageModel.initialize(config, { seed: 5 });
    const spread = (name: string): number => {
      const values = model.parameters.get(name)!.dataSync() as Float32Array;
      return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    };
    expect(spread('model.embed_tokens.weight') / 0.02).toBeCloseTo(1, 1);
    expect(spread('model.layers.2.self_attn.qkv_proj.weight') / 0.02).toBeCloseTo(1, 1);
    expect(spread('model.layers.0.mlp.down_proj.weight') / (0.02 / Math.sqrt(6))).toBeCloseTo(1, 1);
    expect(spread('model.layers.0.self_attn.o_proj.weight') / (0.02 / Math.sqrt(6))).toBeCloseTo(1, 1);
    expect(spread('model.norm.weight')).toBe(1);
    const wider = CausalLanguageModel.initialize(
      { ...config, layers: 1 },
      { seed: 5, standardDeviation: 0.04, scaleResidualOutputs: false },
    );
    const [a, b] = [model, wider].map((m) => m.parameters.get('model.layers.0.mlp.gate_up_proj.weight')!.dataSync());
    // The same stream of normals, twice as wide.
    a.forEach((x, i) => expect(b[i]).toBeCloseTo(2 * x, 6));
    wider.dispose();
  });

  it('are counted', () => {
    const total = [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0);
    const { vocabularySize, hiddenSize } = model.config;
    expect(parameterCount(model.config)).toEqual({ total, nonEmbedding: total - 2 * vocabularySize * hiddenSize });
  });

  it('refuse options out of range', () => {
    expect(() => CausalLanguageModel.initialize(smallConfig(), { seed: -1 })).toThrow(/seed/);
    expect(() => CausalLanguageModel.initialize(smallConfig(), { seed: 1, standardDeviation: NaN })).toThrow(/NaN/);
  });
});

describe('batches', () => {
  let model: CausalLanguageModel;
  beforeAll(async () => {
    await useBackend('cpu');
    model = CausalLanguageModel.initialize(smallConfig({ maximumPositions: 4 }), { seed: 1 });
  });
  afterAll(() => model.dispose());
  const good = (): PackedBatch => packDocuments([[1, 2, 3], [4]]);

  it.each<[string, (batch: PackedBatch) => Partial<PackedBatch>, RegExp]>([
    ['a token beyond the vocabulary', () => ({ tokens: Int32Array.of(1, 2, 61, 4) }), /Token 2 of the batch is 61/],
    ['a negative token', () => ({ tokens: Int32Array.of(1, 2, -1, 4) }), /is -1/],
    ['a position beyond the context', () => ({ positions: Int32Array.of(0, 1, 4, 0) }), /Position 2.*withRope/],
    ['missing positions', () => ({ positions: Int32Array.of(0) }), /4 tokens and 1 positions/],
    ['lengths that do not end with N', () => ({ cumulativeLengths: Int32Array.of(0, 3) }), /from 0 to 3 over 4/],
    ['lengths that do not start with 0', () => ({ cumulativeLengths: Int32Array.of(1, 4) }), /from 1 to 4/],
    [
      'an empty document',
      () => ({ cumulativeLengths: Int32Array.of(0, 3, 3, 4) }),
      /cumulativeLengths\[2\] is 3 after 3/,
    ],
    ['another array type', () => ({ tokens: [1, 2, 3, 4] as unknown as Int32Array }), /tokens is not an Int32Array/],
  ])('refuse %s', (_, change, message) => {
    const batch = good();
    const before = tf.memory().numTensors;
    expect(() => model.hiddenStates({ ...batch, ...change(batch) })).toThrow(message);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuse targets that do not fit', () => {
    expect(() => model.logProbabilities(good(), Int32Array.of(1))).toThrow(/1 targets for 4 tokens/);
    expect(() => model.logProbabilities(good(), Int32Array.of(1, 2, 3, 61))).toThrow(/target is 61/);
    expect(() => model.logProbabilities(good(), Int32Array.of(1, 2, 3, -1))).toThrow(/target is -1/);
  });

  it('refuse empty and fractional documents', () => {
    expect(() => packDocuments([])).toThrow(/no document/);
    expect(() => packDocuments([[1], []])).toThrow(/Document 1 has no tokens/);
    expect(() => packDocuments([[0.5]])).toThrow(/is 0.5/);
  });

  it('may go beyond the context under dynamic scaling, with its longer frequencies', () => {
    const scaling = { type: 'dynamic', factor: 2 } as const;
    const dynamic = model.withRope({ base: 10000, scaling }, 4);
    const long = packDocuments([[1, 2, 3, 4, 5, 6, 7, 8]]);
    // transformers: base · (factor · length / maximum − (factor − 1))^(d/(d−2)) at length 8 of 4.
    const equivalent = model.withRope({ base: 10000 * 3 ** (8 / 6) }, 8);
    const plain = model.withRope({ base: 10000 }, 8);
    const [a, b, c] = tf.tidy(() => [
      dynamic.hiddenStates(long).dataSync(),
      equivalent.hiddenStates(long).dataSync(),
      plain.hiddenStates(long).dataSync(),
    ]);
    a.forEach((x, i) => expect(x).toBeCloseTo(b[i], 5));
    expect(a.some((x, i) => Math.abs(x - c[i]) > 1e-4)).toBe(true);
    expect(() => dynamic.hiddenStates(packDocuments([[1, 2, 3, 4, 5, 6, 7, 8, 9]]))).toThrow(/0 … 7/);
    for (const other of [dynamic, equivalent, plain]) other.dispose();
  });
});
