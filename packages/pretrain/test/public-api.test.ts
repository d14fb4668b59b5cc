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
      "adamWVariables",
      "assertSameIdentity",
      "combineDocumentSources",
      "createAdamW",
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
      "parsePretrainStage",
      "pretrainStageSchema",
      "runPretrainStage",
      "schedulePhases",
      "tokenByteLengths",
    ]
  `);
});
