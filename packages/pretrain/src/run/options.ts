import type * as tf from '@tensorflow/tfjs-core';
import type { CausalLanguageModel } from '@xgen-small/model-core';
import type { TokenShardReader } from '@xgen-small/tokenizer';
import type { TokenDocumentSource } from '../data/document-source';
import type { PretrainMetricsRow } from '../metrics/metrics-row';
import type { ProgressListener } from '../progress';
import type { PretrainStageInput } from '../stage/stage';

export interface PretrainStageOptions {
  /** Trained in place: its variables change. */
  model: CausalLanguageModel;
  data: TokenShardReader | TokenDocumentSource;
  stage: PretrainStageInput;
  /** The stage's own folder: `metrics.jsonl`, `checkpoints/`, `model/`. Created when missing. */
  folder: string;
  seed: number;
  /** Folder of a finished stage whose optimizer moments go on; default: fresh moments. */
  optimizerFrom?: string;
  checkpoints?: CheckpointPolicy;
  /** A metrics row every so many updates; default 1. */
  metricsEverySteps?: number;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
  onMetrics?: (row: PretrainMetricsRow) => void;
  /** Called once an update with the mean gradients of this process; returns those to apply. For data-parallel training. */
  reduceGradients?: (gradients: Map<string, tf.Tensor>) => Map<string, tf.Tensor> | Promise<Map<string, tf.Tensor>>;
}

/** When to write; the result of a run doesn't depend on it. */
export interface CheckpointPolicy {
  everySteps?: number;
  /** Default 300. */
  everySeconds?: number;
}

export interface PretrainStageResult {
  /** The trained model: `options.model`, or the same variables with the stage's RoPE. */
  model: CausalLanguageModel;
  step: number;
  tokens: number;
  /** Loss of the last metrics row. */
  loss: number;
  /** How much of each domain was drawn. */
  domains: Record<string, { tokens: number; documents: number; epochs: number }>;
  /** Hugging Face model folder, `<folder>/model`. */
  modelFolder: string;
  /** Final checkpoint with the optimizer's moments. */
  checkpointFolder: string;
  metricsFile: string;
  /** True when nothing was left to do. */
  alreadyFinished: boolean;
}
