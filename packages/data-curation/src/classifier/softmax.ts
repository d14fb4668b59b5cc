/**
 * Multinomial logistic regression over sparse features: weights [labels, buckets] and a bias for each label. Trained by stochastic
 * gradient descent with AdaGrad steps (Duchi et al. 2011) and L2 decay on the features seen. Deterministic for a seed.
 */

import { setImmediate } from 'node:timers/promises';
import { seededRandom } from '../util/permutation.js';
import type { SparseVector } from './features.js';

export interface LinearModel {
  labels: number;
  buckets: number;
  /** [labels x buckets], row by row. */
  weights: Float32Array;
  bias: Float32Array;
}

export interface TrainingExample {
  features: SparseVector;
  label: number;
  /** Loss weight, so that rare labels count as much as common ones. */
  weight: number;
}

export interface SoftmaxOptions {
  labels: number;
  buckets: number;
  epochs: number;
  learningRate: number;
  decay: number;
  seed: number;
  onEpoch?: (epoch: number, loss: number) => void;
}

/** Cost: epochs x examples x features x labels multiply-adds. Others may run between epochs; what `onEpoch` throws ends the training. */
export async function trainSoftmax(
  examples: readonly TrainingExample[],
  options: SoftmaxOptions,
): Promise<LinearModel> {
  const { labels, buckets } = options;
  const weights = new Float32Array(labels * buckets);
  const squares = new Float32Array(labels * buckets).fill(1e-6);
  const bias = new Float32Array(labels);
  const biasSquares = new Float32Array(labels).fill(1e-6);
  const model: LinearModel = { labels, buckets, weights, bias };
  const order = Int32Array.from(examples, (_, index) => index);
  const random = seededRandom(options.seed);
  const probabilities = new Float64Array(labels);
  for (let epoch = 0; epoch < options.epochs; epoch++) {
    for (let index = order.length - 1; index > 0; index--) {
      const other = Math.floor(random() * (index + 1));
      [order[index], order[other]] = [order[other], order[index]];
    }
    let loss = 0;
    for (const index of order) {
      const { features, label, weight } = examples[index];
      softmax(logits(model, features, probabilities), 1);
      loss -= weight * Math.log(Math.max(probabilities[label], 1e-12));
      for (let row = 0; row < labels; row++) {
        const error = weight * (probabilities[row] - (row === label ? 1 : 0));
        const offset = row * buckets;
        for (let at = 0; at < features.indices.length; at++) {
          const position = offset + features.indices[at];
          const gradient = error * features.values[at] + options.decay * weights[position];
          squares[position] += gradient * gradient;
          weights[position] -= (options.learningRate * gradient) / Math.sqrt(squares[position]);
        }
        biasSquares[row] += error * error;
        bias[row] -= (options.learningRate * error) / Math.sqrt(biasSquares[row]);
      }
    }
    options.onEpoch?.(epoch + 1, loss / Math.max(1, examples.length));
    await setImmediate();
  }
  return model;
}

/** Scores before the softmax, into `out`. */
export function logits(model: LinearModel, features: SparseVector, out: Float64Array): Float64Array {
  const { indices, values } = features;
  for (let row = 0; row < model.labels; row++) {
    const offset = row * model.buckets;
    let sum = model.bias[row];
    for (let at = 0; at < indices.length; at++) sum += model.weights[offset + indices[at]] * values[at];
    out[row] = sum;
  }
  return out;
}

/** In place: probabilities of scores divided by a temperature. */
export function softmax(scores: Float64Array, temperature: number): Float64Array {
  let largest = -Infinity;
  for (const score of scores) largest = Math.max(largest, score);
  let total = 0;
  for (let index = 0; index < scores.length; index++) {
    scores[index] = Math.exp((scores[index] - largest) / temperature);
    total += scores[index];
  }
  for (let index = 0; index < scores.length; index++) scores[index] /= total;
  return scores;
}
