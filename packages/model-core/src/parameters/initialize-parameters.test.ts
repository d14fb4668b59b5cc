import { describe, expect, it } from 'vitest';
import type { ModelConfig } from '../config/model-config.js';
import { ModelError } from '../errors.js';
import { parameterInitializer } from './initialize-parameters.js';
import { parameterLayout } from './parameter-layout.js';

const config: ModelConfig = {
  vocabularySize: 500,
  hiddenSize: 64,
  intermediateSize: 128,
  layers: 2,
  queryHeads: 4,
  keyValueHeads: 2,
  headDimension: 16,
  maximumPositions: 64,
  rmsNormEpsilon: 1e-5,
  tieWordEmbeddings: false,
  rope: { base: 10_000 },
};

function deviations(options: Parameters<typeof parameterInitializer>[1]): Map<string, number> {
  const initialize = parameterInitializer(config, options);
  return new Map(
    parameterLayout(config).map((layout) => {
      const values = initialize(layout);
      return [layout.name, Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length)];
    }),
  );
}

describe('parameterInitializer', () => {
  it('gives each kind of parameter its own deviation', () => {
    const found = deviations({ seed: 3, standardDeviation: 0.08, embeddingStandardDeviation: 0.02 });
    const near = (name: string, wanted: number) => expect(found.get(name)! / wanted, name).toBeCloseTo(1, 1);
    near('model.embed_tokens.weight', 0.02);
    near('lm_head.weight', 0.02);
    near('model.layers.0.self_attn.qkv_proj.weight', 0.08);
    near('model.layers.1.mlp.gate_up_proj.weight', 0.08);
    near('model.layers.0.self_attn.o_proj.weight', 0.04);
    near('model.layers.1.mlp.down_proj.weight', 0.04);
    near('model.norm.weight', 1);
  });

  it('takes one deviation for everything by default', () => {
    const found = deviations({ seed: 3, scaleResidualOutputs: false });
    for (const [name, value] of found) if (!name.includes('norm')) expect(value, name).toBeCloseTo(0.02, 3);
  });

  it('refuses a deviation that is none, and names it', () => {
    expect(() => parameterInitializer(config, { seed: 1, embeddingStandardDeviation: -1 })).toThrow(ModelError);
    expect(() => parameterInitializer(config, { seed: 1, embeddingStandardDeviation: NaN })).toThrow(
      'embeddingStandardDeviation',
    );
  });
});
