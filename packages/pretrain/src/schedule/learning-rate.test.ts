import { describe, expect, it } from 'vitest';
import { decayProgressAt, learningRateAt, schedulePhases, type LearningRateSchedule } from './learning-rate';

const rates = (schedule: LearningRateSchedule, steps: number): number[] =>
  Array.from({ length: steps }, (_, step) => learningRateAt(schedule, step, steps));

describe('warm-up, stable, decay', () => {
  const schedule = {
    type: 'warmupStableDecay',
    peak: 1,
    warmup: { steps: 4 },
    decay: { fraction: 0.4 },
  } as const satisfies LearningRateSchedule;

  it('rises linearly to the peak, stays, and falls linearly', () => {
    const found = rates(schedule, 20);
    expect(found.slice(0, 4)).toEqual([0.25, 0.5, 0.75, 1]);
    expect(found.slice(4, 12)).toEqual(new Array(8).fill(1));
    found.slice(12).forEach((rate, i) => expect(rate).toBeCloseTo(1 - i / 8, 12));
  });

  it('falls as 1 − sqrt(t), as in Hägele et al., with their closed form', () => {
    const found = rates({ ...schedule, decayShape: 'oneMinusSqrt', final: 0.1 }, 20);
    found.slice(12).forEach((rate, i) => expect(rate).toBeCloseTo(0.1 + 0.9 * (1 - Math.sqrt(i / 8)), 12));
  });

  it('never starts from zero and never ends above the final rate by more than one step of the decay', () => {
    for (const steps of [1, 2, 3, 7, 100]) {
      const annealing = rates({ type: 'warmupStableDecay', peak: 0.3, decay: { fraction: 1 } }, steps);
      expect(annealing[0]).toBe(0.3);
      expect(annealing.at(-1)).toBeCloseTo(0.3 / steps, 12);
    }
  });

  it('is constant without warm-up and decay', () => {
    expect(rates({ type: 'warmupStableDecay', peak: 0.7 }, 5)).toEqual(new Array(5).fill(0.7));
  });
});

describe('cosine', () => {
  it('has the closed form of SGDR', () => {
    const schedule: LearningRateSchedule = { type: 'cosine', peak: 2, warmup: { steps: 10 }, final: 0.2 };
    const found = rates(schedule, 110);
    expect(found[9]).toBe(2);
    for (let n = 0; n < 100; n++) {
      expect(found[10 + n]).toBeCloseTo(0.2 + 0.5 * 1.8 * (1 + Math.cos((Math.PI * n) / 100)), 12);
    }
  });
});

describe('decay progress', () => {
  it('is zero until the decay and follows the rate down', () => {
    const schedule: LearningRateSchedule = {
      type: 'warmupStableDecay',
      peak: 1,
      warmup: { steps: 2 },
      decay: { steps: 5 },
      decayShape: 'oneMinusSqrt',
    };
    const progress = Array.from({ length: 10 }, (_, step) => decayProgressAt(schedule, step, 10));
    expect(progress.slice(0, 6)).toEqual([0, 0, 0, 0, 0, 0]);
    progress.slice(5).forEach((value, i) => expect(value).toBeCloseTo(Math.sqrt(i / 5), 12));
  });
});

describe('errors', () => {
  it('refuses phases that do not fit, and steps outside', () => {
    const schedule: LearningRateSchedule = {
      type: 'warmupStableDecay',
      peak: 1,
      warmup: { steps: 8 },
      decay: { steps: 3 },
    };
    expect(() => schedulePhases(schedule, 10)).toThrow(
      /warm-up \(8 steps\) and decay \(3\) exceed the stage's 10 steps/,
    );
    expect(schedulePhases(schedule, 11)).toEqual({ warmupSteps: 8, stableSteps: 0, decaySteps: 3 });
    expect(() => learningRateAt(schedule, 11, 11)).toThrow(/step 11 lies outside/);
    expect(() => learningRateAt(schedule, -1, 11)).toThrow(/step -1 lies outside/);
    expect(() => schedulePhases(schedule, 0)).toThrow(/totalSteps is 0/);
  });
});
