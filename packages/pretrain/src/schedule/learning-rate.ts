/**
 * Learning-rate schedules as plain data and one pure function of the step. Step `n` counts updates from 0; a stage
 * has `totalSteps` of them. The first update never has rate 0 (warm-up at step n is peak·(n + 1)/W), and the rate
 * after the last update would be `final`: the decay is the continuous curve sampled at n = 0 … totalSteps − 1.
 */
import { PretrainError } from '../errors';

/** A length inside a stage: a number of updates, or a fraction of all of them (rounded to the nearest step). */
export type StageSpan = { steps: number } | { fraction: number };

/** Warm-up, constant, then decay (WSD: Hu et al., arXiv 2404.06395; the `oneMinusSqrt` shape: Hägele et al., arXiv 2405.18392, §3). */
export interface WarmupStableDecaySchedule {
  type: 'warmupStableDecay';
  peak: number;
  /** Default: none. */
  warmup?: StageSpan;
  /** Default: none, a constant rate after the warm-up. */
  decay?: StageSpan;
  /** Default `linear`. */
  decayShape?: 'linear' | 'oneMinusSqrt';
  /** Rate that the decay ends in; default 0. */
  final?: number;
}

/** Warm-up, then half a cosine from `peak` to `final` (Loshchilov and Hutter, arXiv 1608.03983, eq. 5). */
export interface CosineSchedule {
  type: 'cosine';
  peak: number;
  /** Default: none. */
  warmup?: StageSpan;
  /** Default 0. */
  final?: number;
}

export type LearningRateSchedule = WarmupStableDecaySchedule | CosineSchedule;

/** Rate of update `step`, 0 ≤ step < totalSteps. */
export function learningRateAt(schedule: LearningRateSchedule, step: number, totalSteps: number): number {
  const { warmupSteps, decaySteps } = schedulePhases(schedule, totalSteps);
  assertStep(step, totalSteps);
  const { peak, final = 0 } = schedule;
  if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
  const decayStart = totalSteps - decaySteps;
  if (step < decayStart) return peak;
  return final + (peak - final) * remaining(schedule, (step - decayStart) / decaySteps);
}

/**
 * How far the rate has fallen from its peak towards `final`: 0 during warm-up and the constant phase, towards 1 as the
 * decay ends. Quality annealing follows it, so that the best documents come as the rate falls.
 */
export function decayProgressAt(schedule: LearningRateSchedule, step: number, totalSteps: number): number {
  const { decaySteps } = schedulePhases(schedule, totalSteps);
  assertStep(step, totalSteps);
  const decayStart = totalSteps - decaySteps;
  return step < decayStart ? 0 : 1 - remaining(schedule, (step - decayStart) / decaySteps);
}

/** Lengths of the phases in updates; errors where they don't fit into `totalSteps`. */
export function schedulePhases(
  schedule: LearningRateSchedule,
  totalSteps: number,
): { warmupSteps: number; stableSteps: number; decaySteps: number } {
  if (!Number.isSafeInteger(totalSteps) || totalSteps < 1) {
    throw new PretrainError('INVALID_ARGUMENT', `totalSteps is ${totalSteps}.`, {
      value: totalSteps,
      remedy: 'Pass a whole number of updates, at least 1.',
    });
  }
  const warmupSteps = spanSteps(schedule.warmup, totalSteps);
  const decaySteps =
    schedule.type === 'cosine' ? Math.max(0, totalSteps - warmupSteps) : spanSteps(schedule.decay, totalSteps);
  if (warmupSteps + decaySteps > totalSteps) {
    throw new PretrainError(
      'INVALID_STAGE',
      `learningRate: warm-up (${warmupSteps} steps) and decay (${decaySteps}) exceed the stage's ${totalSteps} steps.`,
      { value: schedule, remedy: 'Shorten `warmup` or `decay`, or lengthen the stage.' },
    );
  }
  return { warmupSteps, stableSteps: totalSteps - warmupSteps - decaySteps, decaySteps };
}

/** The shape of the decay: 1 at t = 0, 0 at t = 1. */
function remaining(schedule: LearningRateSchedule, t: number): number {
  if (schedule.type === 'cosine') return 0.5 * (1 + Math.cos(Math.PI * t));
  return schedule.decayShape === 'oneMinusSqrt' ? 1 - Math.sqrt(t) : 1 - t;
}

function spanSteps(span: StageSpan | undefined, totalSteps: number): number {
  if (span === undefined) return 0;
  return 'steps' in span ? span.steps : Math.round(span.fraction * totalSteps);
}

function assertStep(step: number, totalSteps: number): void {
  if (!Number.isSafeInteger(step) || step < 0 || step >= totalSteps) {
    throw new PretrainError('INVALID_ARGUMENT', `step ${step} lies outside the stage's ${totalSteps} updates.`, {
      value: step,
      remedy: `Pass a whole number from 0 to ${totalSteps - 1}.`,
    });
  }
}
