/** A model small enough to train in tests on any backend, and the backend: native where it is present. */
import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel, type ModelConfig } from '@xgen-small/model-core';

export const tinyConfig: ModelConfig = {
  vocabularySize: 32,
  hiddenSize: 16,
  intermediateSize: 32,
  layers: 2,
  queryHeads: 2,
  keyValueHeads: 1,
  headDimension: 8,
  maximumPositions: 64,
  rmsNormEpsilon: 1e-5,
  tieWordEmbeddings: true,
  bosTokenId: 0,
  eosTokenId: 0,
  rope: { base: 10_000 },
};

export async function tinyModel(change: Partial<ModelConfig> = {}, seed = 7): Promise<CausalLanguageModel> {
  await initializeBackend();
  return CausalLanguageModel.initialize({ ...tinyConfig, ...change }, { seed });
}
