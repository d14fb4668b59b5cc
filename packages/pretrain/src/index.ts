/** Pre-training of a decoder in stages. See README.md. */
export { PretrainError, type PretrainErrorCode, type PretrainErrorOptions } from './errors';
export type { ProgressEvent, ProgressListener } from './progress';

export {
  decayProgressAt,
  learningRateAt,
  schedulePhases,
  type CosineSchedule,
  type LearningRateSchedule,
  type StageSpan,
  type WarmupStableDecaySchedule,
} from './schedule/learning-rate';

export { parsePretrainStage, pretrainStageSchema } from './stage/parse-stage';
export { extensionStages, type ExtensionOptions, type ExtensionStep } from './stage/extension-stages';
export type {
  AdamWOptions,
  Annealed,
  MixtureDomain,
  MuonOptions,
  OptimizerOptions,
  PretrainStage,
  PretrainStageInput,
} from './stage/stage';

export { combineDocumentSources } from './data/combine-sources';
export type { TokenArray, TokenDocumentSource } from './data/document-source';
export { memoryDocumentSource, type MemoryDocument } from './data/memory-source';
export { BatchPacker, type BatchPackerOptions, type BatchPackerState, type PackedDomain } from './data/batch-packer';
export { ignoredTarget, type MicroBatch } from './data/micro-batch';
export type { DomainSamplerState, MixtureSamplerOptions, MixtureSamplerState } from './data/mixture-sampler';

export { createAdamW, defaultAdamWOptions } from './optimizer/adam-w';
export { createMuon, orthogonalizedMatrices, type OrthogonalizedMatrices } from './optimizer/muon';
export { createOptimizer } from './optimizer/create-optimizer';
export {
  optimizerVariables,
  type Optimizer,
  type Optimizer as AdamW,
  type OptimizerState,
  type OptimizerState as AdamWState,
  type OptimizerUpdate,
} from './optimizer/optimizer';
export { accumulateGradients, type AccumulateOptions } from './optimizer/accumulate-gradients';

export {
  assertSameIdentity,
  CheckpointStore,
  openCheckpoint,
  type CheckpointContent,
  type CheckpointStoreOptions,
  type TrainingCheckpoint,
} from './checkpoint/checkpoint-store';
export { hashVariables, identityDifferences, type IdentityDifference, type Json } from './checkpoint/identity';

export { MetricsLog } from './metrics/metrics-log';
export type { PretrainMetricsRow } from './metrics/metrics-row';

export { runPretrainStage } from './run/run-pretrain-stage';
export type { CheckpointPolicy, HeldOutOptions, PretrainStageOptions, PretrainStageResult } from './run/options';

export {
  evaluateLoss,
  type DomainLoss,
  type EvaluateLossOptions,
  type EvaluateLossResult,
} from './evaluate/evaluate-loss';
export { tokenByteLengths } from './evaluate/token-byte-lengths';
export {
  modelFlopsByPart,
  modelFlopsPerToken,
  type ModelFlops,
  type ModelFlopsOptions,
} from './accounting/model-flops';
