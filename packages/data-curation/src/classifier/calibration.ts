/**
 * Calibration: a classifier that says 0.8 should be right 8 times in 10. A temperature and a bias for each label, fitted on examples that
 * were not trained on: temperature scaling (Guo et al. 2017, arXiv:1706.04599) with corrected bias (Alexandari et al. 2020,
 * arXiv:1901.06852), since training weighs all labels alike and the examples may not. And the measures that show whether it helped.
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

/** Examples whose winning probability lies in a tenth of [0, 1]. */
export interface ReliabilityBin {
  from: number;
  to: number;
  examples: number;
  /** Mean of the winning probability. */
  predicted: number;
  /** Share of examples that the winning label is right for. */
  observed: number;
}

export interface Calibration {
  temperature: number;
  /** Added to the scores before they are divided by the temperature; sums to 0. */
  bias: Float64Array;
}

const bins = 10;

/** The temperature of smallest loss, by golden-section search over its logarithm. */
export function fitTemperature(examples: readonly ScoredExample[]): number {
  if (examples.length === 0) return 1;
  return searchTemperature(examples, smoothedTargets(examples));
}

function searchTemperature(examples: readonly ScoredExample[], targets: readonly Float64Array[]): number {
  const loss = (logarithm: number) => softLoss(examples, targets, Math.exp(logarithm));
  const ratio = (Math.sqrt(5) - 1) / 2;
  let low = Math.log(0.05);
  let high = Math.log(20);
  let left = high - ratio * (high - low);
  let right = low + ratio * (high - low);
  let [lossLeft, lossRight] = [loss(left), loss(right)];
  for (let step = 0; step < 40; step++) {
    if (lossLeft < lossRight) {
      [high, right, lossRight] = [right, left, lossLeft];
      left = high - ratio * (high - low);
      lossLeft = loss(left);
    } else {
      [low, left, lossLeft] = [left, right, lossRight];
      right = low + ratio * (high - low);
      lossRight = loss(right);
    }
  }
  return Number(Math.exp((low + high) / 2).toPrecision(6));
}

/**
 * Temperature and biases in turn, to the smallest loss. The biases are those at which the mean probability of each label is its mean
 * target, found by scaling: each step multiplies a label's odds by what it lacks.
 */
export function fitCalibration(examples: readonly ScoredExample[], labels: number): Calibration {
  const bias = new Float64Array(labels);
  if (examples.length === 0) return { temperature: 1, bias };
  const targets = smoothedTargets(examples);
  const wanted = new Float64Array(labels);
  for (const target of targets) for (let row = 0; row < labels; row++) wanted[row] += target[row];
  for (let round = 0; round < 8; round++) {
    const temperature = searchTemperature(shift(examples, bias), targets);
    for (let step = 0; step < 10; step++) {
      const found = new Float64Array(labels);
      for (const { scores } of shift(examples, bias)) {
        softmax(scores, temperature);
        for (let row = 0; row < labels; row++) found[row] += scores[row];
      }
      let sum = 0;
      for (let row = 0; row < labels; row++) {
        bias[row] += temperature * Math.log(wanted[row] / (found[row] + 1e-9));
        sum += bias[row];
      }
      for (let row = 0; row < labels; row++) bias[row] -= sum / labels;
    }
  }
  return { temperature: searchTemperature(shift(examples, bias), targets), bias };
}

/**
 * What the probabilities should be: not 1 for the label that an example has, but what n examples of a label in a row warrant under
 * Jeffreys' prior, (n + 1/2) / (n + 1). So a few examples that are all right do not make a classifier certain, as smoothed targets keep
 * Platt's from being (Platt 1999, "Probabilistic outputs for support vector machines", 2.2, which takes the uniform prior: too
 * cautious for a good classifier with few examples).
 */
function smoothedTargets(examples: readonly ScoredExample[]): Float64Array[] {
  const labels = examples[0].scores.length;
  const counts = new Float64Array(labels);
  for (const { label } of examples) counts[label]++;
  const byLabel = Array.from(counts, (count, label) => {
    const target = new Float64Array(labels).fill(0.5 / (count + 1) / (labels - 1));
    target[label] = (count + 0.5) / (count + 1);
    return target;
  });
  return examples.map(({ label }) => byLabel[label]);
}

/** Mean cross-entropy against the targets. */
function softLoss(examples: readonly ScoredExample[], targets: readonly Float64Array[], temperature: number): number {
  let sum = 0;
  for (const [index, { scores }] of examples.entries()) {
    let largest = -Infinity;
    for (const score of scores) largest = Math.max(largest, score);
    let total = 0;
    let expected = 0;
    for (let row = 0; row < scores.length; row++) {
      const scaled = (scores[row] - largest) / temperature;
      total += Math.exp(scaled);
      expected += targets[index][row] * scaled;
    }
    sum += Math.log(total) - expected;
  }
  return sum / examples.length;
}

function shift(examples: readonly ScoredExample[], bias: Float64Array): ScoredExample[] {
  return examples.map(({ scores, label }) => ({ scores: scores.map((score, row) => score + bias[row]), label }));
}

export function measure(examples: readonly ScoredExample[], temperature: number): CalibrationMeasures {
  const found = reliability(examples, temperature);
  const total = Math.max(1, examples.length);
  const sum = (term: (bin: ReliabilityBin) => number) => found.reduce((all, bin) => all + bin.examples * term(bin), 0);
  return {
    logLoss: logLoss(examples, temperature),
    accuracy: sum(({ observed }) => observed) / total,
    calibrationError: sum(({ observed, predicted }) => Math.abs(observed - predicted)) / total,
  };
}

function logLoss(examples: readonly ScoredExample[], temperature: number): number {
  let sum = 0;
  for (const { scores, label } of examples) {
    sum -= Math.log(Math.max(softmax(scores.slice(), temperature)[label], 1e-12));
  }
  return sum / Math.max(1, examples.length);
}

export function reliability(examples: readonly ScoredExample[], temperature: number): ReliabilityBin[] {
  const found = Array.from({ length: bins }, () => ({ examples: 0, probability: 0, right: 0 }));
  for (const { scores, label } of examples) {
    const probabilities = softmax(scores.slice(), temperature);
    const best = indexOfLargest(probabilities);
    const bin = found[Math.min(bins - 1, Math.floor(probabilities[best] * bins))];
    bin.examples++;
    bin.probability += probabilities[best];
    if (best === label) bin.right++;
  }
  return found.map(({ examples: count, probability, right }, index) => ({
    from: index / bins,
    to: (index + 1) / bins,
    examples: count,
    predicted: probability / Math.max(1, count),
    observed: right / Math.max(1, count),
  }));
}

/**
 * Area under the curve of true against false positives: how often a positive scores above a negative, ties counting half
 * (Mann and Whitney's U). NaN where there are none of either.
 */
export function areaUnderCurve(scored: readonly { score: number; isPositive: boolean }[]): number {
  const sorted = [...scored].sort((a, b) => a.score - b.score);
  let ranks = 0;
  let positives = 0;
  for (let start = 0; start < sorted.length;) {
    let end = start;
    while (end < sorted.length && sorted[end].score === sorted[start].score) end++;
    const rank = (start + 1 + end) / 2;
    for (let at = start; at < end; at++) {
      if (!sorted[at].isPositive) continue;
      ranks += rank;
      positives++;
    }
    start = end;
  }
  const negatives = sorted.length - positives;
  return (ranks - (positives * (positives + 1)) / 2) / (positives * negatives);
}

export function indexOfLargest(values: Float64Array): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index] > values[best]) best = index;
  return best;
}
