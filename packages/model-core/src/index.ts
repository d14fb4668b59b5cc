/** Public API of @xgen-small/model-core. */
export { ModelError, type ModelErrorCode, type ModelErrorOptions } from './errors.js';

export type {
  DynamicRopeScaling,
  LinearRopeScaling,
  Llama3RopeScaling,
  ModelConfig,
  RopeConfig,
  RopeScaling,
  YarnRopeScaling,
} from './config/model-config.js';
export { parseModelConfig, toHuggingFaceConfig } from './config/hugging-face-config.js';
export { validateModelConfig } from './config/validate-model-config.js';
export { ntkBase, ropeFrequencies, type RopeFrequencies } from './rope/rope-frequencies.js';

export {
  parameterCount,
  parameterLayout,
  type ParameterLayout,
  type ParameterPart,
} from './parameters/parameter-layout.js';
export type { InitializeOptions } from './parameters/initialize-parameters.js';
export { CausalLanguageModel, type ForwardOptions, type LogProbabilityOptions } from './model/causal-language-model.js';
export { recomputeModeOfBlocks, recomputeModes, type Recompute, type RecomputeMode } from './model/recompute.js';
export { packDocuments, type PackedBatch } from './model/packed-batch.js';
export type { LoadOptions } from './checkpoint/load-checkpoint.js';
export type { SaveOptions } from './checkpoint/save-checkpoint.js';

export { GenerationEngine } from './generation/generation-engine.js';
export { generate } from './generation/generate.js';
export type {
  FinishReason,
  GenerateOptions,
  GenerationEngineOptions,
  GenerationEngineStats,
  GenerationEvent,
  GenerationRequest,
  GenerationResult,
  TextGenerationRequest,
  TokenLogProbability,
} from './generation/types.js';

export { readSafetensors, type ReadInto, type SafetensorsFile } from './safetensors/read-safetensors.js';
export { writeSafetensors, type WriteSafetensorsOptions, type WrittenFile } from './safetensors/write-safetensors.js';
export type { SafetensorsData, SafetensorsDtype, SafetensorsEntry, SafetensorsSource } from './safetensors/types.js';

export { RandomGenerator, uniformAt, type RandomGeneratorState } from './util/random-generator.js';
export { writeFileAtomic } from './util/write-file-atomic.js';
export type { ProgressEvent } from './util/progress.js';
