/** What every post-training run takes and reports; the same shape as the pre-training stages'. */
import type { CausalLanguageModel } from '@xgen-small/model-core';
import type { CheckpointPolicy, ProgressEvent } from '@xgen-small/pretrain';
import type { ChatTokenizer } from '../data/chat-tokenizer.js';

/** One line of `metrics.jsonl`. `seconds`: time spent in this stage, interruptions left out. */
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
  /** Created when missing. `checkpoints/`, `metrics.jsonl` and, at the end, `model/`; one folder a run. */
  folder: string;
  seed: number;
  /** When to write checkpoints; the result doesn't depend on it. */
  checkpoints?: CheckpointPolicy;
  /** Files to lie beside the final model: the tokenizer's. */
  modelFiles?: Readonly<Record<string, string | Uint8Array>>;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
  onMetrics?: (event: MetricsEvent) => void;
}
