import { expect, it } from 'vitest';
import * as api from '../src/index';

it('exports what the README names', () => {
  expect(Object.keys(api).sort()).toMatchInlineSnapshot(`
    [
      "BatchPacker",
      "CheckpointStore",
      "MetricsLog",
      "PretrainError",
      "accumulateGradients",
      "assertSameIdentity",
      "combineDocumentSources",
      "createAdamW",
      "createMuon",
      "createOptimizer",
      "decayProgressAt",
      "defaultAdamWOptions",
      "evaluateLoss",
      "extensionStages",
      "hashVariables",
      "identityDifferences",
      "ignoredTarget",
      "learningRateAt",
      "memoryDocumentSource",
      "modelFlopsByPart",
      "modelFlopsPerToken",
      "openCheckpoint",
      "optimizerVariables",
      "orthogonalizedMatrices",
      "parsePretrainStage",
      "pretrainStageSchema",
      "runPretrainStage",
      "schedulePhases",
      "tokenByteLengths",
    ]
  `);
});
