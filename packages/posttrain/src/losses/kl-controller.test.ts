import { expect, it } from 'vitest';
import { nextKlCoefficient } from './kl-controller.js';

it('raises the coefficient above the target, lowers it below, by at most 20 % a horizon', () => {
  const controller = { target: 4, horizon: 100 };
  expect(nextKlCoefficient(0.1, 4, 100, controller)).toBeCloseTo(0.1, 12);
  expect(nextKlCoefficient(0.1, 40, 100, controller)).toBeCloseTo(0.12, 12);
  expect(nextKlCoefficient(0.1, -3, 100, controller)).toBeCloseTo(0.08, 12);
  expect(nextKlCoefficient(0.1, 4.4, 50, controller)).toBeCloseTo(0.105, 12);
});
