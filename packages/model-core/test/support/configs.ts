import type { ModelConfig } from '../../src/index.js';

/** A decoder small enough for float64 loops in a test. */
export function smallConfig(overrides: Partial<ModelConfig> = {}): ModelConfig {
  return {
    vocabularySize: 61,
    hiddenSize: 32,
    intermediateSize: 48,
    layers: 2,
    queryHeads: 4,
    keyValueHeads: 2,
    headDimension: 8,
    maximumPositions: 64,
    rmsNormEpsilon: 1e-5,
    tieWordEmbeddings: false,
    rope: { base: 10000 },
    ...overrides,
  };
}
