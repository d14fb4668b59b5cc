import type { Conversation } from '../data/records.js';
import type { PosttrainRunArguments } from '../run/run-arguments.js';
import type { SupervisedFineTuningStage } from '../run/stage-schemas.js';

export interface SupervisedFineTuningArguments extends PosttrainRunArguments<SupervisedFineTuningStage> {
  /** Tokenised once and held as tokens (5 bytes each). */
  conversations: Iterable<Conversation> | AsyncIterable<Conversation>;
  heldOut?: Iterable<Conversation> | AsyncIterable<Conversation>;
}

export interface SupervisedFineTuningResult {
  /** Hugging Face model folder. */
  modelFolder: string;
  steps: number;
  /** Conversations trained on, and those changed or left out because they were longer than the context. */
  conversations: { used: number; truncated: number; dropped: number };
  assistantTokens: number;
  /** Mean −log p an assistant token of the last step. */
  finalLoss: number;
  /** The same over the held-out conversations before and after; absent without any. */
  heldOutLossBefore?: number;
  heldOutLoss?: number;
}
