import { EvaluationError } from '../errors.js';

/**
 * Unbiased estimate of "at least one of k is right" from `samples` of which `right` are: 1 − C(n−c, k) / C(n, k)
 * (Chen et al., arXiv 2107.03374, equation 1), as a product, so that nothing overflows.
 */
export function passAtK(samples: number, right: number, k: number): number {
  if (!Number.isInteger(k) || k < 1 || k > samples || right < 0 || right > samples) {
    throw new EvaluationError(
      'INVALID_OPTIONS',
      `pass@k needs 1 <= k <= samples and 0 <= right <= samples, but k is ${k}, samples ${samples} and right ${right}.`,
      { value: { samples, right, k }, remedy: 'Take more samples a problem, or a smaller k.' },
    );
  }
  let allWrong = 1;
  for (let i = samples - right - k + 1; i <= samples - k; i++) {
    if (i <= 0) return 1;
    allWrong *= i / (i + k);
  }
  return 1 - allWrong;
}

/** 1, 2, 4, … up to the number of samples. */
export function passAtSteps(samples: number): number[] {
  const steps: number[] = [];
  for (let k = 1; k <= samples; k *= 2) steps.push(k);
  return steps;
}
