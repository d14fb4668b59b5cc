import { describe, expect, it } from 'vitest';
import { planSteps } from './step-plan.js';

const sizes = Array.from({ length: 23 }, (_, i) => 3 + ((i * 7) % 11));

describe('planSteps', () => {
  it('visits every item once an epoch, in another order each time, within the step size', () => {
    const plan = planSteps({ sizes, stepSize: 30, epochs: 3, seed: 5 });
    const steps = [...plan.steps(0)];
    expect(steps).toHaveLength(plan.totalSteps);
    const visits = steps.flat();
    const epochs = [0, 1, 2].map((epoch) => visits.slice(epoch * 23, (epoch + 1) * 23));
    for (const epoch of epochs) expect([...epoch].sort((a, b) => a - b)).toEqual(sizes.map((_, i) => i));
    expect(epochs[0]).not.toEqual(epochs[1]);
    for (const step of steps) expect(step.reduce((sum, item) => sum + sizes[item], 0)).toBeLessThanOrEqual(30);
  });

  it('continues from any step exactly', () => {
    const plan = planSteps({ sizes, stepSize: 30, steps: 17, seed: 5 });
    const steps = [...plan.steps(0)];
    expect(steps).toHaveLength(17);
    for (const first of [1, 9, 16, 17]) expect([...plan.steps(first)]).toEqual(steps.slice(first));
  });

  it('gives an item larger than a step one of its own, and depends on the seed', () => {
    const plan = planSteps({ sizes: [5, 50, 5], stepSize: 10, epochs: 1, seed: 1 });
    expect([...plan.steps(0)].some((step) => step.length === 1 && step[0] === 1)).toBe(true);
    const orders = [1, 2].map((seed) => [...planSteps({ sizes, stepSize: 1, epochs: 1, seed }).steps(0)].flat());
    expect(orders[0]).not.toEqual(orders[1]);
  });
});
