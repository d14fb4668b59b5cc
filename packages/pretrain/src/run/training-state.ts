/** What a stage's loop keeps in a checkpoint beside parameters and moments: counters, no clock. */
import { z } from 'zod';
import type { TrainingCheckpoint } from '../checkpoint/checkpoint-store';
import type { BatchPackerState } from '../data/batch-packer';
import { PretrainError } from '../errors';

/** Sum of −log p and number of targets, by domain. */
export type DomainSums = Record<string, { negativeLogLikelihood: number; targets: number }>;

export interface TrainingState {
  /** Updates finished. */
  step: number;
  /** AdamW's own count, which goes on where moments were taken over. */
  optimizerStep: number;
  /** Position in the data after `step` updates. */
  data: BatchPackerState;
  /** Rows of `metrics.jsonl` that belong to this checkpoint. */
  metricsRows: number;
  /** What the next metrics row already holds. */
  sinceRow: DomainSums;
}

const count = z.number().int().nonnegative();

const trainingStateSchema: z.ZodType<TrainingState> = z.strictObject({
  step: count,
  optimizerStep: count,
  data: z.strictObject({
    sampler: z.record(
      z.string(),
      z.strictObject({ pass: count, position: count, credit: z.number(), tokens: count, documents: count }),
    ),
    pool: z.array(z.tuple([count, count, count, count])),
  }),
  metricsRows: count,
  sinceRow: z.record(z.string(), z.strictObject({ negativeLogLikelihood: z.number(), targets: count })),
});

export function parseTrainingState({ folder, state }: TrainingCheckpoint): TrainingState {
  const parsed = trainingStateSchema.safeParse(state);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0];
  throw new PretrainError('CORRUPT_CHECKPOINT', `${folder}: state.${path.join('.')}: ${message}.`, {
    value: folder,
    remedy: 'Delete this checkpoint folder and run again.',
  });
}
