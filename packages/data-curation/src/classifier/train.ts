/**
 * Trains a classifier from labelled texts. A fifth of the texts, by hash, is not trained on: half of it fits the temperatures, half measures
 * the result. Labels count equally, whatever their number of examples.
 * Memory: the features of all examples (about 16 kB for a long one). Cost: see `softmax.ts`.
 */

import { CurationError } from '../errors.js';
import { hash32 } from '../util/hash.js';
import type { CalibrationMeasures, ScoredExample } from './calibration.js';
import { fitTemperature, measure } from './calibration.js';
import type { FeatureView, SparseVector } from './features.js';
import { FeatureExtractor } from './features.js';
import type { EnsembleMember } from './model-file.js';
import type { LinearModel } from './softmax.js';
import { logits, softmax, trainSoftmax } from './softmax.js';
import { TextClassifier } from './text-classifier.js';

export interface LabelledText {
  text: string;
  label: string;
}

export interface TrainClassifierOptions {
  examples: AsyncIterable<LabelledText> | Iterable<LabelledText>;
  /** One model each; default both. */
  views?: readonly FeatureView[];
  /** Hash buckets of a model, a power of two; default 2^18. */
  buckets?: number;
  epochs?: number;
  learningRate?: number;
  /** L2 decay; default 1e-6. */
  decay?: number;
  seed?: number;
  signal?: AbortSignal;
  onProgress?: (event: { task: string; completed: number; total?: number; unit: string; detail?: string }) => void;
}

export interface ClassifierReport {
  labels: { label: string; train: number; calibration: number; test: number }[];
  /** On the test part, for each model alone, before and after its temperature, and for the ensemble. */
  members: { view: FeatureView; temperature: number; before: CalibrationMeasures; after: CalibrationMeasures }[];
  ensemble: CalibrationMeasures;
  /** Rows: true label; columns: predicted; counts on the test part. */
  confusion: number[][];
}

type Part = 'train' | 'calibration' | 'test';

export async function trainTextClassifier(
  options: TrainClassifierOptions,
): Promise<{ classifier: TextClassifier; report: ClassifierReport }> {
  const { views = ['words', 'characters'], buckets = 2 ** 18, epochs = 8, seed = 0 } = options;
  if (!Number.isInteger(Math.log2(buckets)) || buckets < 2 || buckets > 2 ** 24) {
    throw new CurationError('OPTION_INVALID', `buckets is ${buckets}.`, {
      value: buckets,
      remedy: 'Give a power of two up to 2^24.',
    });
  }
  const texts: (LabelledText & { part: Part })[] = [];
  for await (const { text, label } of options.examples) texts.push({ text, label, part: partOf(text, seed) });
  const labels = [...new Set(texts.map(({ label }) => label))].sort();
  checkLabels(labels, texts);
  const members: EnsembleMember[] = [];
  const reports: ClassifierReport['members'] = [];
  const testScores: Float64Array[][] = [];
  const test = texts.filter(({ part }) => part === 'test');
  for (const [turn, view] of views.entries()) {
    const extractor = new FeatureExtractor(view, buckets);
    const prepared = texts.map(({ text, label, part }) => ({
      features: extractor.extract(text),
      label: labels.indexOf(label),
      part,
    }));
    const counts = labels.map(
      (_, row) => prepared.filter(({ part, label }) => part === 'train' && label === row).length,
    );
    const training = prepared
      .filter(({ part }) => part === 'train')
      .map(({ features, label }) => ({
        features,
        label,
        weight: prepared.length / (labels.length * Math.max(1, counts[label])),
      }));
    const scale = training.reduce((sum, { weight }) => sum + weight, 0) / Math.max(1, training.length);
    const model = trainSoftmax(
      training.map((example) => ({ ...example, weight: example.weight / scale })),
      {
        labels: labels.length,
        buckets,
        epochs,
        learningRate: options.learningRate ?? 0.3,
        decay: options.decay ?? 1e-6,
        seed: seed + turn,
        onEpoch: (epoch, loss) => {
          options.signal?.throwIfAborted();
          options.onProgress?.({
            task: `train ${view}`,
            completed: epoch,
            total: epochs,
            unit: 'epochs',
            detail: `loss ${loss.toFixed(4)}`,
          });
        },
      },
    );
    const score = (part: Part) =>
      scored(
        model,
        prepared.filter((example) => example.part === part),
      );
    const temperature = fitTemperature(score('calibration'));
    const testExamples = score('test');
    members.push({ view, temperature, model });
    reports.push({ view, temperature, before: measure(testExamples, 1), after: measure(testExamples, temperature) });
    testScores.push(testExamples.map(({ scores }) => softmax(scores.slice(), temperature)));
  }
  const combined: ScoredExample[] = test.map(({ label }, index) => ({
    label: labels.indexOf(label),
    scores: labels.reduce((scores, _, row) => {
      const mean = testScores.reduce((sum, member) => sum + member[index][row], 0) / views.length;
      scores[row] = Math.log(Math.max(mean, 1e-12));
      return scores;
    }, new Float64Array(labels.length)),
  }));
  const confusion = labels.map(() => labels.map(() => 0));
  for (const { scores, label } of combined) confusion[label][scores.indexOf(Math.max(...scores))]++;
  const classifier = new TextClassifier({ labels, members });
  const countOf = (label: string, part: Part) =>
    texts.filter((text) => text.label === label && text.part === part).length;
  return {
    classifier,
    report: {
      labels: labels.map((label) => ({
        label,
        train: countOf(label, 'train'),
        calibration: countOf(label, 'calibration'),
        test: countOf(label, 'test'),
      })),
      members: reports,
      ensemble: measure(combined, 1),
      confusion,
    },
  };
}

function partOf(text: string, seed: number): Part {
  const share = hash32('classifier', seed, text) / 2 ** 32;
  return share < 0.8 ? 'train' : share < 0.9 ? 'calibration' : 'test';
}

function checkLabels(labels: readonly string[], texts: readonly { label: string; part: Part }[]): void {
  if (labels.length < 2) {
    throw new CurationError('OPTION_INVALID', `The examples have ${labels.length} label(s).`, {
      value: labels,
      remedy: 'Give examples of at least two labels.',
    });
  }
  for (const label of labels) {
    for (const part of ['train', 'calibration', 'test'] as const) {
      if (texts.some((text) => text.label === label && text.part === part)) continue;
      throw new CurationError('OPTION_INVALID', `The label "${label}" has no example in the ${part} part.`, {
        value: label,
        remedy: 'Give more examples of it: 50 or more.',
      });
    }
  }
}

function scored(model: LinearModel, examples: readonly { features: SparseVector; label: number }[]): ScoredExample[] {
  return examples.map(({ features, label }) => ({
    scores: logits(model, features, new Float64Array(model.labels)),
    label,
  }));
}
