// Saves models until it is killed; every parameter of the n-th holds the number n.
import * as tf from '@tensorflow/tfjs-core';
import { initializeBackend } from '@xgen-small/kernels';
import { CausalLanguageModel } from '../../dist/index.js';

const [, , folder, kind] = process.argv;
await initializeBackend({ preferred: 'cpu' });
const model = CausalLanguageModel.initialize(
  {
    vocabularySize: 512,
    hiddenSize: 64,
    intermediateSize: 128,
    layers: 3,
    queryHeads: 4,
    keyValueHeads: 2,
    headDimension: 16,
    maximumPositions: 64,
    rmsNormEpsilon: 1e-5,
    tieWordEmbeddings: true,
    rope: { base: 10000 },
  },
  { seed: 0 },
);
for (let n = 1; ; n++) {
  for (const variable of model.parameters.values()) {
    tf.tidy(() => variable.assign(tf.fill(variable.shape, n)));
  }
  const path = kind === 'new' ? `${folder}/save-${n}` : `${folder}/model`;
  await model.save(path, kind === 'sharded' ? { maximumShardBytes: 60_000 } : {});
  if (n === 2) console.log('saving');
}
