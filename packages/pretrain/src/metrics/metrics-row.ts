/** One line of a stage's `metrics.jsonl`: what happened since the previous line. */
export interface PretrainMetricsRow {
  stage: string;
  /** Updates finished, this one included. */
  step: number;
  /** Tokens seen in the stage so far. */
  tokens: number;
  /** Mean −log p of the target tokens since the previous row, in nats. */
  loss: number;
  /** The same by domain; domains without a target since the previous row are absent. */
  lossByDomain: Record<string, number>;
  learningRate: number;
  /** Global L2 norm before clipping, of the last update. */
  gradientNorm: number;
  tokensPerSecond: number;
  /** Nats a token on held-out documents after this update; in the rows that `heldOut` asks for. */
  heldOutLoss?: number;
  heldOutLossByDomain?: Record<string, number>;
  /** Time spent in updates of this stage. */
  seconds: number;
}
