/** What every post-training run takes and reports; the same shape as the pre-training stages'. */
import type { CausalLanguageModel } from '@xgen-small/model-core';
import type { ChatTokenizer } from '../data/chat-tokenizer.js';

export interface ProgressEvent {
  task: string;
  completed: number;
  total?: number;
  unit: string;
  detail?: string;
}

/** One line of `metrics.jsonl`. */
export interface MetricsEvent {
  /** 'sft' | 'dpo' | 'ppo', or the stage's name. */
  stage: string;
  /** Optimizer steps done (SFT, DPO) or iterations done (PPO). */
  step: number;
  [metric: string]: number | string;
}

export interface PosttrainRunArguments<Stage> {
  /** The model to train; its variables are changed in place. On a resumed run, pass the same initial model again. */
  model: CausalLanguageModel;
  tokenizer: ChatTokenizer;
  stage: Stage;
  /** Created when missing. Holds the checkpoints, the metrics and the final `model/`; one folder a run. */
  folder: string;
  seed: number;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
  onMetrics?: (event: MetricsEvent) => void;
}
