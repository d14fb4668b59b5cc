/**
 * Trains a classifier from labelled texts. A fifth of the texts, by hash, is not trained on: half of it fits the calibration, half measures
 * the result. In training labels count equally, whatever their number of examples; the probabilities are calibrated to their shares.
 * The same examples in the same order, and the same seed, give the same bytes. One thread.
 * Memory: the features of all examples (about 16 kB for a long one). Cost: see `softmax.ts`.
 */

import { setImmediate } from 'node:timers/promises';
import { CurationError } from '../errors.js';
import { compareStrings, hash32 } from '../util/hash.js';
import type { CalibrationMeasures, ReliabilityBin, ScoredExample } from './calibration.js';
import { areaUnderCurve, fitCalibration, indexOfLargest, measure, reliability } from './calibration.js';
import type { FeatureView, SparseVector } from './features.js';
import { FeatureExtractor } from './features.js';
import type { EnsembleMember } from './model-file.js';
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

/** Everything but the numbers of examples is measured on the test part. */
export interface ClassifierReport {
  labels: {
    label: string;
    train: number;
    calibration: number;
    test: number;
    /** Of the label's probability, this label against all others. */
    areaUnderCurve: number;
  }[];
  /** Each model alone, before and after its calibration. */
  members: { view: FeatureView; temperature: number; before: CalibrationMeasures; after: CalibrationMeasures }[];
  ensemble: CalibrationMeasures;
  /** Of the ensemble. */
  reliability: ReliabilityBin[];
  /** Rows: true label; columns: predicted; counts. */
  confusion: number[][];
}

type Part = 'train' | 'calibration' | 'test';

interface Example {
  text: string;
  label: number;
  part: Part;
}

interface PreparedExample {
  features: SparseVector;
  label: number;
  part: Part;
}

const extractionsPerTurn = 500;

/** @throws CurationError `OPTION_INVALID`, `INPUT_INVALID` for an example without text or label, `ABORTED`. */
export async function trainTextClassifier(
  options: TrainClassifierOptions,
): Promise<{ classifier: TextClassifier; report: ClassifierReport }> {
  const { views = ['words', 'characters'], buckets = 2 ** 18 } = options;
  if (!Number.isInteger(Math.log2(buckets)) || buckets < 2 || buckets > 2 ** 24) {
    throw new CurationError('OPTION_INVALID', `buckets is ${buckets}.`, {
      value: buckets,
      remedy: 'Give a power of two up to 2^24.',
    });
  }
  const { labels, examples } = await collect(options);
  const members: EnsembleMember[] = [];
  const reports: ClassifierReport['members'] = [];
  const test = examples.filter(({ part }) => part === 'test');
  const means = test.map(() => new Float64Array(labels.length));
  for (const [turn, view] of views.entries()) {
    const { member, before, testExamples } = await trainMember(view, turn, examples, labels, { ...options, buckets });
    members.push(member);
    const { temperature } = member;
    reports.push({ view, temperature, before, after: measure(testExamples, temperature) });
    for (const [index, { scores }] of testExamples.entries()) {
      const probabilities = softmax(scores.slice(), temperature);
      for (let row = 0; row < labels.length; row++) means[index][row] += probabilities[row] / views.length;
    }
  }
  return {
    classifier: new TextClassifier({ labels, members }),
    report: { ...describe(labels, examples, test, means), members: reports },
  };
}

async function collect({ examples, seed = 0 }: TrainClassifierOptions): Promise<{
  labels: string[];
  examples: Example[];
}> {
  const texts: (LabelledText & { part: Part })[] = [];
  for await (const { text, label } of examples) {
    if (typeof text !== 'string' || text.trim() === '' || typeof label !== 'string' || label === '') {
      throw new CurationError('INPUT_INVALID', `Example ${texts.length + 1} has no text, or no label.`, {
        value: { text, label },
        remedy: 'Leave such examples out.',
      });
    }
    texts.push({ text, label, part: partOf(text, seed) });
  }
  const labels = [...new Set(texts.map(({ label }) => label))].sort(compareStrings);
  checkLabels(labels, texts);
  const rows = new Map(labels.map((label, row) => [label, row]));
  return { labels, examples: texts.map(({ text, label, part }) => ({ text, label: rows.get(label)!, part })) };
}

async function trainMember(
  view: FeatureView,
  turn: number,
  examples: readonly Example[],
  labels: readonly string[],
  options: TrainClassifierOptions & { buckets: number },
): Promise<{ member: EnsembleMember; before: CalibrationMeasures; testExamples: ScoredExample[] }> {
  const { buckets, epochs = 8, seed = 0, signal, onProgress } = options;
  const report = (task: string, completed: number, total: number, unit: string, detail?: string) => {
    if (signal?.aborted === true) {
      throw new CurationError('ABORTED', 'The training was interrupted.', { cause: signal.reason });
    }
    onProgress?.({ task: `${task} ${view}`, completed, total, unit, detail });
  };
  const extractor = new FeatureExtractor(view, buckets);
  const prepared: PreparedExample[] = [];
  for (const { text, label, part } of examples) {
    prepared.push({ features: extractor.extract(text), label, part });
    if (prepared.length % extractionsPerTurn > 0) continue;
    report('read', prepared.length, examples.length, 'examples');
    await setImmediate();
  }
  const training = prepared.filter(({ part }) => part === 'train');
  const counts = labels.map((_, row) => training.filter(({ label }) => label === row).length);
  const model = await trainSoftmax(
    training.map(({ features, label }) => ({
      features,
      label,
      weight: training.length / (labels.length * counts[label]),
    })),
    {
      labels: labels.length,
      buckets,
      epochs,
      learningRate: options.learningRate ?? 0.3,
      decay: options.decay ?? 1e-6,
      seed: seed + turn,
      onEpoch: (epoch, loss) => report('train', epoch, epochs, 'epochs', `loss ${loss.toFixed(4)}`),
    },
  );
  const score = (wanted: Part): ScoredExample[] =>
    prepared
      .filter(({ part }) => part === wanted)
      .map(({ features, label }) => ({ scores: logits(model, features, new Float64Array(labels.length)), label }));
  const before = measure(score('test'), 1);
  const { temperature, bias } = fitCalibration(score('calibration'), labels.length);
  // The correction of the bias becomes part of the model's.
  for (let row = 0; row < labels.length; row++) model.bias[row] += bias[row];
  return { member: { view, temperature, model }, before, testExamples: score('test') };
}

function describe(
  labels: readonly string[],
  examples: readonly Example[],
  test: readonly Example[],
  means: readonly Float64Array[],
): Omit<ClassifierReport, 'members'> {
  const countOf = (label: number, part: Part) =>
    examples.filter((example) => example.label === label && example.part === part).length;
  const combined = test.map(({ label }, index) => ({
    label,
    scores: means[index].map((mean) => Math.log(Math.max(mean, 1e-12))),
  }));
  const confusion = labels.map(() => labels.map(() => 0));
  for (const [index, { label }] of test.entries()) confusion[label][indexOfLargest(means[index])]++;
  return {
    labels: labels.map((label, row) => ({
      label,
      train: countOf(row, 'train'),
      calibration: countOf(row, 'calibration'),
      test: countOf(row, 'test'),
      areaUnderCurve: areaUnderCurve(
        test.map((example, index) => ({ score: means[index][row], isPositive: example.label === row })),
      ),
    })),
    ensemble: measure(combined, 1),
    reliability: reliability(combined, 1),
    confusion,
  };
}

function partOf(text: string, seed: number): Part {
  const share = hash32('classifier', seed, text) / 2 ** 32;
  return share < 0.8 ? 'train' : share < 0.9 ? 'calibration' : 'test';
}

function checkLabels(labels: readonly string[], texts: readonly { label: string; part: Part }[]): void {
  if (labels.length < 2) {
    const found = labels.length === 0 ? 'There are no examples.' : `All examples have the label "${labels[0]}".`;
    throw new CurationError('OPTION_INVALID', found, {
      value: labels,
      remedy: 'Give examples of at least two labels.',
    });
  }
  const missing = labels.map((label) => {
    const parts = new Set(texts.filter((text) => text.label === label).map(({ part }) => part));
    return { label, part: (['train', 'calibration', 'test'] as const).find((part) => !parts.has(part)) };
  });
  for (const { label, part } of missing) {
    if (part === undefined) continue;
    throw new CurationError('OPTION_INVALID', `The label "${label}" has no example in the ${part} part.`, {
      value: label,
      remedy: 'Give more examples of it: 50 or more.',
    });
  }
}
