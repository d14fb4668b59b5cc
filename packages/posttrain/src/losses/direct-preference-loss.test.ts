import { describe, expect, it } from 'vitest';
import { directPreferenceLoss, type DirectPreferenceOptions } from './direct-preference-loss.js';

const input = {
  chosen: [-12.5, -40, -3, -900, -5],
  rejected: [-14, -30, -3, -10, -900],
  referenceChosen: [-13, -38, -4, -20, -6],
  referenceRejected: [-13.5, -33, -4, -12, -7],
};

/** Straight from the papers, with no care for overflow. */
function definition(
  index: number,
  chosen: number,
  { beta, loss, labelSmoothing, referenceFree }: DirectPreferenceOptions,
) {
  const reference = referenceFree ? 0 : input.referenceChosen[index] - input.referenceRejected[index];
  const h = chosen - input.rejected[index] - reference;
  if (loss === 'ipo') return (h - 1 / (2 * beta)) ** 2;
  const probability = 1 / (1 + Math.exp(-beta * h));
  const flipped = 1 / (1 + Math.exp(beta * h));
  return (
    -(1 - labelSmoothing) * Math.log(probability) - (labelSmoothing === 0 ? 0 : labelSmoothing * Math.log(flipped))
  );
}

const variants: DirectPreferenceOptions[] = [
  { beta: 0.1, loss: 'sigmoid', labelSmoothing: 0, referenceFree: false },
  { beta: 0.3, loss: 'sigmoid', labelSmoothing: 0.2, referenceFree: false },
  { beta: 0.1, loss: 'sigmoid', labelSmoothing: 0, referenceFree: true },
  { beta: 0.1, loss: 'ipo', labelSmoothing: 0, referenceFree: false },
];

describe('directPreferenceLoss', () => {
  it.each(variants)('has the papers’ value and its gradient by finite differences: %o', (options) => {
    const { losses, gradients } = directPreferenceLoss(input, options);
    for (let i = 0; i < 3; i++) {
      expect(losses[i]).toBeCloseTo(definition(i, input.chosen[i], options), 10);
      const step = 1e-5;
      const slope =
        (definition(i, input.chosen[i] + step, options) - definition(i, input.chosen[i] - step, options)) / (2 * step);
      expect(gradients[i]).toBeCloseTo(slope, 6);
    }
  });

  it('starts at log 2 where policy and reference agree', () => {
    const same = { ...input, referenceChosen: input.chosen, referenceRejected: input.rejected };
    const { losses, gradients } = directPreferenceLoss(same, variants[0]);
    for (const loss of losses) expect(loss).toBeCloseTo(Math.LN2, 12);
    for (const gradient of gradients) expect(gradient).toBeCloseTo(-0.05, 12);
  });

  it('stays finite far from the reference', () => {
    const { losses, gradients } = directPreferenceLoss(input, { ...variants[0], beta: 10 });
    expect(losses[3]).toBeCloseTo(8820, 6);
    expect(gradients[3]).toBeCloseTo(-10, 12);
    expect(losses[4]).toBe(0);
    expect(gradients[4]).toBeCloseTo(0, 12);
  });
});
