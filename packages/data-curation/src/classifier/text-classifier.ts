/**
 * A trained classifier of texts: an ensemble of calibrated linear models, each over its own view of the text, whose probabilities
 * are averaged. Used for domains (several labels) and for quality (the probability of one label).
 * Cost: feature extraction and one multiply-add a feature and label; about 0.6 ms for 5,000 characters.
 */

import { sha256OfText } from '../util/files.js';
import { FeatureExtractor } from './features.js';
import type { ClassifierData } from './model-file.js';
import { classifierBytes, isClassifierFile, readClassifier, writeClassifier } from './model-file.js';
import { logits, softmax } from './softmax.js';

export interface Prediction {
  /** The most probable label. */
  label: string;
  probability: number;
  /** By label; sums to 1. */
  probabilities: Record<string, number>;
}

export class TextClassifier {
  readonly #data: ClassifierData;
  readonly #extractors: FeatureExtractor[];

  constructor(data: ClassifierData) {
    this.#data = data;
    this.#extractors = data.members.map(({ view, model }) => new FeatureExtractor(view, model.buckets));
  }

  static async load(path: string): Promise<TextClassifier> {
    return new TextClassifier(await readClassifier(path));
  }

  /** Whether the file begins like a saved classifier; `load` tells whether it is whole. */
  static isFile(path: string): Promise<boolean> {
    return isClassifierFile(path);
  }

  async save(path: string): Promise<void> {
    await writeClassifier(path, this.#data);
  }

  /** SHA-256 of the file that `save` writes. */
  sha256(): string {
    return sha256OfText(classifierBytes(this.#data));
  }

  get labels(): readonly string[] {
    return this.#data.labels;
  }

  predict(text: string): Prediction {
    const { labels, members } = this.#data;
    const mean = new Float64Array(labels.length);
    for (const [index, { model, temperature }] of members.entries()) {
      const features = this.#extractors[index].extract(text);
      const probabilities = softmax(logits(model, features, new Float64Array(labels.length)), temperature);
      for (let row = 0; row < labels.length; row++) mean[row] += probabilities[row] / members.length;
    }
    let best = 0;
    for (let row = 1; row < labels.length; row++) if (mean[row] > mean[best]) best = row;
    return {
      label: labels[best],
      probability: mean[best],
      probabilities: Object.fromEntries(labels.map((label, row) => [label, mean[row]])),
    };
  }

  /** The probability of one label; 0 for a label that the classifier does not know. */
  probabilityOf(text: string, label: string): number {
    return this.predict(text).probabilities[label] ?? 0;
  }
}
