/** What every evaluation accepts and returns. */

export interface ProgressEvent {
  task: string;
  completed: number;
  total?: number;
  unit: string;
  detail?: string;
}

/** Options shared by every evaluation that asks a model. */
export interface RunOptions {
  /**
   * Where samples and results go: `<task>.samples.jsonl` (one line a sample, appended as each is done) and
   * `<task>.results.json`. A rerun with the same settings continues after the last whole line; without a folder
   * nothing is written.
   */
  outputFolder?: string;
  /** Samples handed to the model at once. Default 32. */
  batchSize?: number;
  signal?: AbortSignal;
  onProgress?: (event: ProgressEvent) => void;
}

/** A mean with its 95 % interval: Wilson's for yes/no scores, a seeded percentile bootstrap for others. */
export interface Estimate {
  mean: number;
  low: number;
  high: number;
  count: number;
  method: 'wilson' | 'bootstrap';
}

/** One answered sample, as its line in the log has it. */
export interface SampleRecord {
  id: string;
  /** The cell, task or category it counts towards. */
  group: string;
  /** As sent (messages as JSON); of more than 8,000 characters, the first and last 4,000. */
  prompt: string;
  /** Of the whole prompt. */
  promptSha256: string;
  completions: string[];
  references: string[];
  /** One score in [0, 1] a completion. */
  scores: number[];
  /** The mean of `scores`. */
  score: number;
  finishReasons: string[];
  promptTokens?: number;
  metadata?: Record<string, unknown>;
}
