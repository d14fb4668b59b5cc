/**
 * Which items each update trains on: a pure function of the sizes and the seed, so that a resumed run needs the step
 * alone. Every epoch has its own order; steps run on over the epochs' borders. Memory: one index an item.
 */
import { RandomGenerator } from '@xgen-small/model-core';

export interface StepPlan {
  totalSteps: number;
  /** Item indices of the steps from `firstStep` on. */
  steps(firstStep: number): Generator<number[]>;
}

export interface StepPlanOptions {
  /** What an item adds to a step: its tokens, or 1. */
  sizes: ArrayLike<number>;
  /** A step holds as many items as fit in this sum, at least one. */
  stepSize: number;
  /** Exactly one of the two. */
  epochs?: number;
  steps?: number;
  seed: number;
}

export function planSteps({ sizes, stepSize, epochs, steps, seed }: StepPlanOptions): StepPlan {
  const random = new RandomGenerator(seed).fork('order');
  function* items(): Generator<number> {
    for (let epoch = 0; epochs === undefined || epoch < epochs; epoch++) {
      const order = Int32Array.from({ length: sizes.length }, (_, i) => i);
      yield* random.fork(`epoch ${epoch}`).shuffle(order);
    }
  }
  function* groups(): Generator<number[]> {
    let group: number[] = [];
    let sum = 0;
    for (const item of items()) {
      if (group.length > 0 && sum + sizes[item] > stepSize) {
        yield group;
        group = [];
        sum = 0;
      }
      group.push(item);
      sum += sizes[item];
    }
    yield group;
  }
  let totalSteps = steps ?? 0;
  if (steps === undefined) for (const _ of groups()) totalSteps++;
  return {
    totalSteps,
    *steps(firstStep) {
      let step = 0;
      for (const group of groups()) {
        if (step >= totalSteps) return;
        if (step++ >= firstStep) yield group;
      }
    },
  };
}
