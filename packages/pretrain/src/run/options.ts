import type * as tf from '@tensorflow/tfjs-core';
import type { CausalLanguageModel, Recompute, SaveOptions } from '@xgen-small/model-core';
import type { PackedDomain } from '../data/batch-packer';
import type { TokenDocumentSource } from '../data/document-source';
import type { EvaluateLossOptions } from '../evaluate/evaluate-loss';
import type { PretrainMetricsRow } from '../metrics/metrics-row';
import type { ProgressListener } from '../progress';
import type { PretrainStageInput } from '../stage/stage';

export interface PretrainStageOptions {
  /** Trained in place: its variables change. On a rerun, pass the same initial model again. */
  model: CausalLanguageModel;
  data: TokenDocumentSource;
  stage: PretrainStageInput;
  /** The stage's own folder: `metrics.jsonl`, `checkpoints/`, `model/`. Created when missing. */
  folder: string;
  /** A whole number from 0 to 2^53 − 1. */
  seed: number;
  /** Folder of a finished stage whose optimizer moments go on; default: fresh moments. */
  optimizerFrom?: string;
  checkpoints?: CheckpointPolicy;
  /** A metrics row every so many updates; default 1. */
  metricsEverySteps?: number;
  /** Loss on held-out documents in the metrics rows of every `everySteps` updates and of the last one. */
  heldOut?: HeldOutOptions;
  /** What of each block the backward pass computes again; default: as the stage says. */
  recompute?: Recompute;
  /** How the final model is written: its storage type, and files to lie beside it (the tokenizer's). */
  modelFolder?: Pick<SaveOptions, 'dtype' | 'extraFiles' | 'maximumShardBytes'>;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
  onMetrics?: (row: PretrainMetricsRow) => void;
  /**
   * Called once an update with the gradients of this process, which it then owns; returns those to apply. The one place where
   * data-parallel training averages over processes.
   */
  reduceGradients?: (gradients: Map<string, tf.Tensor>) => Map<string, tf.Tensor> | Promise<Map<string, tf.Tensor>>;
}

export interface HeldOutOptions extends Pick<
  EvaluateLossOptions,
  'data' | 'maximumTokensPerDomain' | 'domains' | 'minimumDocumentTokens'
> {
  everySteps: number;
}

/** When to write; the result of a run doesn't depend on it. Also written when the run ends or is aborted. */
export interface CheckpointPolicy {
  /** Default: by time only. */
  everySteps?: number;
  /** Default 300. */
  everySeconds?: number;
}

export interface PretrainStageResult {
  /** The trained model: `options.model`, or one that shares its variables under the stage's RoPE. Each must be disposed. */
  model: CausalLanguageModel;
  step: number;
  tokens: number;
  /** Loss of the last metrics row. */
  loss: number;
  /** How much of each domain the model has seen. */
  domains: Record<string, PackedDomain>;
  /** Hugging Face model folder, `<folder>/model`. */
  modelFolder: string;
  /** Final checkpoint, with the optimizer's moments. */
  checkpointFolder: string;
  metricsFile: string;
  /** True when nothing was left to do. */
  alreadyFinished: boolean;
}
