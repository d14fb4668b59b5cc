/** Several classifiers of the same labels as one: the mean of their calibrated probabilities. Cost: that of each, one after another. */

import { CurationError } from '../errors.js';
import type { Prediction, TextClassifier } from './text-classifier.js';

export class ClassifierEnsemble {
  readonly #classifiers: readonly TextClassifier[];
  readonly labels: readonly string[];

  /** @throws CurationError `OPTION_INVALID` for none, or for labels that differ. */
  constructor(classifiers: readonly TextClassifier[]) {
    if (classifiers.length === 0) {
      throw new CurationError('OPTION_INVALID', 'There is no classifier.', { remedy: 'Give one or more.' });
    }
    const known = classifiers[0].labels.join(', ');
    for (const { labels } of classifiers) {
      const found = labels.join(', ');
      if (found === known) continue;
      throw new CurationError('OPTION_INVALID', `The classifiers have different labels: ${known}; and ${found}.`, {
        value: labels,
        remedy: 'Apply together only classifiers that were trained with the same labels.',
      });
    }
    this.#classifiers = classifiers;
    this.labels = classifiers[0].labels;
  }

  predict(text: string): Prediction {
    const mean = new Float64Array(this.labels.length);
    for (const classifier of this.#classifiers) {
      const { probabilities } = classifier.predict(text);
      for (const [row, label] of this.labels.entries()) mean[row] += probabilities[label] / this.#classifiers.length;
    }
    const best = mean.indexOf(Math.max(...mean));
    return {
      label: this.labels[best],
      probability: mean[best],
      probabilities: Object.fromEntries(this.labels.map((label, row) => [label, mean[row]])),
    };
  }
}
