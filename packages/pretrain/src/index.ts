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

export type { AdamWOptions, Annealed, MixtureDomain, PretrainStage, PretrainStageInput } from './stage/stage';
export type { TokenArray, TokenDocumentSource } from './data/document-source';
export type { PretrainMetricsRow } from './metrics/metrics-row';
export type { CheckpointPolicy, PretrainStageOptions, PretrainStageResult } from './run/options';

import type * as tf from '@tensorflow/tfjs-core';
import type { CausalLanguageModel, ModelConfig } from '@xgen-small/model-core';
import type { TokenDocumentSource } from './data/document-source';
import { PretrainError } from './errors';
import type { PretrainStageOptions, PretrainStageResult } from './run/options';
import type { AdamWOptions, PretrainStage, PretrainStageInput } from './stage/stage';

const pending = (what: string): never => {
  throw new PretrainError('INVALID_ARGUMENT', `${what} is not built yet.`);
};

/** Strict: unknown keys and values that contradict each other are refused with PretrainError INVALID_STAGE. */
export function parsePretrainStage(_input: unknown): PretrainStage {
  return pending('parsePretrainStage');
}
export function runPretrainStage(_options: PretrainStageOptions): Promise<PretrainStageResult> {
  return pending('runPretrainStage');
}

/** Moments of AdamW by parameter name. */
export interface AdamWState {
  step: number;
  firstMoments: Map<string, tf.Variable>;
  secondMoments: Map<string, tf.Variable>;
}
export interface AdamW {
  /** Zero moments for these parameters. */
  initialize(parameters: ReadonlyMap<string, tf.Variable>): AdamWState;
  /** Changes parameters and moments in place; the state returned takes the place of the one passed. Gradients stay the caller's. */
  update(
    state: AdamWState,
    parameters: ReadonlyMap<string, tf.Variable>,
    gradients: ReadonlyMap<string, tf.Tensor>,
    at: { learningRate: number; gradientScale?: tf.Scalar },
  ): AdamWState;
  dispose(state: AdamWState): void;
}
export function createAdamW(_options?: AdamWOptions): AdamW {
  return pending('createAdamW');
}
/** Sum of the losses' gradients over micro-batches, one backward pass at a time. */
export function accumulateGradients(_options: {
  parameters: ReadonlyMap<string, tf.Variable>;
  microBatches: number;
  /** The part of the step's loss that this micro-batch adds; its gradients are summed. */
  loss: (microBatch: number) => tf.Scalar;
}): { losses: tf.Scalar[]; gradients: Map<string, tf.Tensor> } {
  return pending('accumulateGradients');
}

export interface TrainingCheckpoint {
  folder: string;
  step: number;
  /** What `save` was given. */
  state: unknown;
  identity: Record<string, unknown>;
  /** Copies the checkpoint's values into variables of the same names and shapes. */
  restore(variables: ReadonlyMap<string, tf.Variable>): Promise<void>;
}
/** Checkpoints of any training loop: atomic, verified, the previous one kept until the new one is whole. */
export class CheckpointStore {
  constructor(_options: { folder: string; kind: string }) {
    pending('CheckpointStore');
  }
  /** The newest whole checkpoint. Throws RUN_MISMATCH naming what differs when its identity isn't `identity`. */
  latest(_identity?: Record<string, unknown>): Promise<TrainingCheckpoint | undefined> {
    return pending('CheckpointStore');
  }
  save(_checkpoint: {
    step: number;
    model: CausalLanguageModel;
    /** Everything beside the model: moments, a value head. */
    variables: ReadonlyMap<string, tf.Variable>;
    state: unknown;
    identity: Record<string, unknown>;
  }): Promise<string> {
    return pending('CheckpointStore');
  }
}
/** Append-only JSONL whose rows survive kills: `resumeAt(step)` drops torn rows and rows after `step`. */
export class MetricsLog<Row extends { step: number }> {
  constructor(_file: string) {
    pending('MetricsLog');
  }
  /** Rows kept. */
  resumeAt(_step: number): Promise<Row[]> {
    return pending('MetricsLog');
  }
  append(_row: Row): Promise<void> {
    return pending('MetricsLog');
  }
  /** On disk when this resolves. */
  sync(): Promise<void> {
    return pending('MetricsLog');
  }
  close(): Promise<void> {
    return pending('MetricsLog');
  }
}

export interface MemoryDocument {
  tokens: ArrayLike<number>;
  domain: string;
  quality?: number;
  weight?: number;
  lossMask?: Uint8Array;
}
export function memoryDocumentSource(
  _documents: readonly MemoryDocument[],
  _options: { vocabularySize: number },
): TokenDocumentSource {
  return pending('memoryDocumentSource');
}
/** One source of several; domains of the same name become one. */
export function combineDocumentSources(_sources: readonly TokenDocumentSource[]): TokenDocumentSource {
  return pending('combineDocumentSources');
}

export interface DomainLoss {
  tokens: number;
  /** Sum of −log p in nats. */
  negativeLogLikelihood: number;
  /** Nats a token. */
  loss: number;
  perplexity: number;
  /** With `tokenByteLengths` only. */
  bytes?: number;
  bitsPerByte?: number;
}
export interface EvaluateLossOptions {
  model: CausalLanguageModel;
  data: PretrainStageOptions['data'];
  contextLength: number;
  /** Default: all that are in the data. */
  domains?: readonly string[];
  /** Documents are read in order until this many; default all. */
  maximumTokensPerDomain?: number;
  /** Default: the larger of contextLength and 4,096. */
  microBatchTokens?: number;
  minimumDocumentTokens?: number;
  prependBeginToken?: boolean;
  /** Bytes of each token id's text, for bits per byte (special tokens: 0). */
  tokenByteLengths?: ArrayLike<number>;
  signal?: AbortSignal;
  onProgress?: PretrainStageOptions['onProgress'];
}
export function evaluateLoss(
  _options: EvaluateLossOptions,
): Promise<{ overall: DomainLoss; domains: Record<string, DomainLoss> }> {
  return pending('evaluateLoss');
}

export interface ExtensionOptions {
  /** The stage before: its mixture, optimizer settings and token budget are the defaults. */
  stage: PretrainStageInput;
  model: ModelConfig;
  steps: readonly { factor: number; learningRate?: PretrainStageInput['learningRate']; trainingTokens: number }[];
  /** Domain of retrieval documents and its share. */
  retrieval?: { domain: string; share: number };
}
/** Length extension: context × factor (of the base context) at each step, RoPE base by the NTK formula unless given. */
export function extensionStages(_options: ExtensionOptions): PretrainStageInput[] {
  return pending('extensionStages');
}

/** Floating-point operations of a training step a token: forward and backward. */
export function modelFlopsPerToken(
  _config: ModelConfig,
  _contextLength: number,
  _options?: { includeOutputHead?: boolean },
): number {
  return pending('modelFlopsPerToken');
}
