/**
 * Calibration: a classifier that says 0.8 should be right 8 times in 10. One temperature for the scores, fitted on examples that were
 * not trained on (Guo et al. 2017, arXiv:1706.04599), and the measures that show whether it helped.
 */

import { softmax } from './softmax.js';

export interface ScoredExample {
  scores: Float64Array;
  label: number;
}

export interface CalibrationMeasures {
  /** Mean negative log-likelihood, natural logarithm. */
  logLoss: number;
  accuracy: number;
  /** Expected calibration error over 10 bins of the winning probability. */
  calibrationError: number;
}

/** The temperature of smallest log loss, by golden-section search over its logarithm. */
export function fitTemperature(examples: readonly ScoredExample[]): number {
  if (examples.length === 0) return 1;
  const loss = (logarithm: number) => measure(examples, Math.exp(logarithm)).logLoss;
  const ratio = (Math.sqrt(5) - 1) / 2;
  let low = Math.log(0.05);
  let high = Math.log(20);
  for (let step = 0; step < 40; step++) {
    const left = high - ratio * (high - low);
    const right = low + ratio * (high - low);
    if (loss(left) < loss(right)) high = right;
    else low = left;
  }
  return Number(Math.exp((low + high) / 2).toPrecision(6));
}

export function measure(examples: readonly ScoredExample[], temperature: number): CalibrationMeasures {
  const bins = Array.from({ length: 10 }, () => ({ count: 0, confidence: 0, right: 0 }));
  let logLoss = 0;
  let right = 0;
  for (const { scores, label } of examples) {
    const probabilities = softmax(scores.slice(), temperature);
    const best = probabilities.indexOf(Math.max(...probabilities));
    logLoss -= Math.log(Math.max(probabilities[label], 1e-12));
    if (best === label) right++;
    const bin = bins[Math.min(9, Math.floor(probabilities[best] * 10))];
    bin.count++;
    bin.confidence += probabilities[best];
    if (best === label) bin.right++;
  }
  const total = Math.max(1, examples.length);
  const calibrationError = bins.reduce((sum, bin) => sum + Math.abs(bin.confidence - bin.right), 0) / total;
  return { logLoss: logLoss / total, accuracy: right / total, calibrationError };
}
