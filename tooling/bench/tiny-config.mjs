/** The `tiny` preset that the benchmarks of several packages time: 4.4 million parameters beside the embedding. */
export const tinyConfig = {
  vocabularySize: 8192,
  hiddenSize: 256,
  intermediateSize: 704,
  layers: 6,
  queryHeads: 8,
  keyValueHeads: 4,
  headDimension: 32,
  maximumPositions: 2048,
  rmsNormEpsilon: 1e-5,
  tieWordEmbeddings: true,
  rope: { base: 10000 },
};
