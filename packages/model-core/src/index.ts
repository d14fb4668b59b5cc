import type * as tf from '@tensorflow/tfjs-core';
import type { ModelConfig, RopeConfig } from './config/model-config.js';
import { ModelError } from './errors.js';
import type {
  GenerateOptions,
  GenerationEngineOptions,
  GenerationEngineStats,
  GenerationEvent,
  GenerationRequest,
  GenerationResult,
  TextGenerationRequest,
} from './generation/types.js';
import type { PackedBatch } from './model/packed-batch.js';
import type { SafetensorsEntry, SafetensorsSource } from './safetensors/types.js';

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
export type { SafetensorsData, SafetensorsDtype, SafetensorsEntry, SafetensorsSource } from './safetensors/types.js';
export { packDocuments, type PackedBatch } from './model/packed-batch.js';

export interface ProgressEvent {
  task: string;
  completed: number;
  total?: number;
  unit: string;
  detail?: string;
}

export interface InitializeOptions {
  seed: number;
  /** Standard deviation of every matrix; default 0.02. */
  standardDeviation?: number;
  /** Divide the deviation of the projections that write into the residual stream by sqrt(2·layers); default true. */
  scaleResidualOutputs?: boolean;
}

export interface LoadOptions {
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
  /** Refuse a checkpoint that contains NaN or infinity; default true. */
  checkFinite?: boolean;
}

export interface SaveOptions {
  /** Files to lie beside the model, by name (tokenizer.json, tokenizer_config.json, generation_config.json …). */
  extraFiles?: Readonly<Record<string, string | Uint8Array>>;
  /** Storage of the weights; default 'float32'. */
  dtype?: 'float32' | 'bfloat16' | 'float16';
  /** Largest size of one safetensors file; default 5e9. */
  maximumShardBytes?: number;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

export interface ForwardOptions {
  /** Recompute each block's activations in the backward pass instead of keeping them; default false. */
  recomputeBlocks?: boolean;
}

export interface SafetensorsFile {
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  /** The tensor's values as float32 (F16, BF16, F64 converted). */
  readFloat32(name: string): Promise<Float32Array>;
  readInt32(name: string): Promise<Int32Array>;
  readRaw(name: string): Promise<Uint8Array>;
  close(): Promise<void>;
}

const pending = (what: string): never => {
  throw new ModelError('INVALID_ARGUMENT', `${what} is not built yet.`);
};

/** From Hugging Face's config.json (parsed, or its text). Throws ModelError INVALID_CONFIG or UNSUPPORTED_CONFIG. */
export function parseModelConfig(_json: unknown): ModelConfig {
  return pending('parseModelConfig');
}
/** Checks a configuration in this project's names, across fields; returns a clean copy. */
export function validateModelConfig(_config: ModelConfig): ModelConfig {
  return pending('validateModelConfig');
}
/** The config.json of a LlamaForCausalLM. */
export function toHuggingFaceConfig(_config: ModelConfig): Record<string, unknown> {
  return pending('toHuggingFaceConfig');
}
export interface RopeFrequencies {
  /** [headDimension / 2] */
  inverseFrequencies: Float32Array;
  attentionScaling: number;
}
/** `sequenceLength` matters to `dynamic` only. */
export function ropeFrequencies(
  _rope: RopeConfig,
  _headDimension: number,
  _maximumPositions: number,
  _sequenceLength?: number,
): RopeFrequencies {
  return pending('ropeFrequencies');
}
/** NTK-aware change of base (factor s, head size d): base · s^(d/(d−2)). */
export function ntkBase(_base: number, _factor: number, _headDimension: number): number {
  return pending('ntkBase');
}
export function parameterCount(_config: ModelConfig): { total: number; nonEmbedding: number } {
  return pending('parameterCount');
}

export class CausalLanguageModel {
  readonly config!: ModelConfig;
  /** By name, as in files but with fused `self_attn.qkv_proj.weight` and `mlp.gate_up_proj.weight`. */
  readonly parameters!: ReadonlyMap<string, tf.Variable>;
  static initialize(_config: ModelConfig, _options: InitializeOptions): CausalLanguageModel {
    return pending('CausalLanguageModel');
  }
  static load(_folder: string, _options?: LoadOptions): Promise<CausalLanguageModel> {
    return pending('CausalLanguageModel');
  }
  save(_folder: string, _options?: SaveOptions): Promise<void> {
    return pending('CausalLanguageModel');
  }
  /** After the final norm, [N, D]. */
  hiddenStates(_batch: PackedBatch, _options?: ForwardOptions): tf.Tensor2D {
    return pending('CausalLanguageModel');
  }
  /** [rows or N, V] */
  logits(_hidden: tf.Tensor2D, _rows?: Int32Array): tf.Tensor2D {
    return pending('CausalLanguageModel');
  }
  /** log p(targets[i] | tokens up to i), [N]; 0 where the target is -100. Differentiable. */
  logProbabilities(_batch: PackedBatch, _targets: Int32Array, _options?: ForwardOptions): tf.Tensor1D {
    return pending('CausalLanguageModel');
  }
  /** The same variables under another RoPE; each of the two models must be disposed. */
  withRope(_rope: RopeConfig, _maximumPositions: number): CausalLanguageModel {
    return pending('CausalLanguageModel');
  }
  /** The head's weight [V, D]: the embedding itself where tied. */
  get outputWeight(): tf.Variable {
    return pending('CausalLanguageModel');
  }
  dispose(): void {
    pending('CausalLanguageModel');
  }
}

export class GenerationEngine {
  constructor(_model: CausalLanguageModel, _options: GenerationEngineOptions) {
    pending('GenerationEngine');
  }
  /** Queues a request; returns its id. Throws ModelError when it can never fit. */
  add(_request: GenerationRequest): string {
    return pending('GenerationEngine');
  }
  /** Frees the request's cache at once; the next step() confirms with a 'cancelled' event. Unknown ids are ignored. */
  cancel(_id: string): void {
    pending('GenerationEngine');
  }
  /** One forward over all active sequences. Events of one call: at most one a request. */
  step(): GenerationEvent[] {
    return pending('GenerationEngine');
  }
  get active(): number {
    return pending('GenerationEngine');
  }
  get waiting(): number {
    return pending('GenerationEngine');
  }
  stats(): GenerationEngineStats {
    return pending('GenerationEngine');
  }
  dispose(): void {
    pending('GenerationEngine');
  }
}

export function generate(
  _model: CausalLanguageModel,
  _requests: readonly TextGenerationRequest[],
  _options?: GenerateOptions,
): Promise<GenerationResult[]> {
  return pending('generate');
}

export interface RandomGeneratorState {
  algorithm: 'xoshiro128**';
  words: [number, number, number, number];
}
/** Seeded, reproducible across machines; its state is plain JSON. */
export class RandomGenerator {
  constructor(_seed: number) {
    pending('RandomGenerator');
  }
  static fromState(_state: RandomGeneratorState): RandomGenerator {
    return pending('RandomGenerator');
  }
  get state(): RandomGeneratorState {
    return pending('RandomGenerator');
  }
  /** An independent stream that depends on this one's present state and the label, and does not advance it. */
  fork(_label: string): RandomGenerator {
    return pending('RandomGenerator');
  }
  /** In [0, 1), 53 bits. */
  uniform(): number {
    return pending('RandomGenerator');
  }
  normal(_mean?: number, _standardDeviation?: number): number {
    return pending('RandomGenerator');
  }
  /** In [0, bound), unbiased. */
  integer(_bound: number): number {
    return pending('RandomGenerator');
  }
  /** In place (Fisher–Yates); returns its argument. */
  shuffle<T extends { length: number; [index: number]: unknown }>(_items: T): T {
    return pending('RandomGenerator');
  }
}

/** Opens a safetensors file, or a folder with an index, and checks all headers before any data is read. */
export function readSafetensors(_path: string): Promise<SafetensorsFile> {
  return pending('readSafetensors');
}
export interface WriteSafetensorsOptions {
  metadata?: Record<string, string>;
  signal?: AbortSignal;
}
/** One file, streamed, atomic; returns its size and SHA-256. */
export function writeSafetensors(
  _file: string,
  _tensors: readonly SafetensorsSource[],
  _options?: WriteSafetensorsOptions,
): Promise<{ byteLength: number; sha256: string }> {
  return pending('writeSafetensors');
}
/** The file appears under its name only when whole: temporary name, fsync, rename, fsync of the folder. */
export function writeFileAtomic(_path: string, _data: string | Uint8Array): Promise<void> {
  return pending('writeFileAtomic');
}
