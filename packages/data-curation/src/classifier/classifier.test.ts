import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { code, prose } from '../../test/corpus.js';
import { generateMathDocuments } from '../generators/math-documents.js';
import { seededRandom } from '../util/permutation.js';
import { areaUnderCurve, fitCalibration, fitTemperature, measure, reliability } from './calibration.js';
import { FeatureExtractor } from './features.js';
import { logits, softmax, trainSoftmax } from './softmax.js';
import { TextClassifier } from './text-classifier.js';
import type { LabelledText } from './train.js';
import { trainTextClassifier } from './train.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'classifier-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function examples(): LabelledText[] {
  return [
    ...Array.from({ length: 150 }, (_, index) => ({ text: prose(index, 10), label: 'documentation' })),
    ...Array.from({ length: 80 }, (_, index) => ({ text: code(index), label: 'code' })),
    ...generateMathDocuments({ seed: 1, count: 60 }).map(({ text }) => ({ text, label: 'maths' })),
  ];
}

describe('trainSoftmax', () => {
  it('predicts the frequencies of labels that the features cannot tell apart', async () => {
    const features = new FeatureExtractor('words', 256).extract('the same text every time');
    const training = Array.from({ length: 100 }, (_, index) => ({
      features,
      label: index % 10 < 7 ? 0 : 1,
      weight: 1,
    }));
    const model = await trainSoftmax(training, {
      labels: 2,
      buckets: 256,
      epochs: 300,
      learningRate: 0.05,
      decay: 0,
      seed: 1,
    });
    const [first, second] = softmax(logits(model, features, new Float64Array(2)), 1);
    expect(first).toBeCloseTo(0.7, 1);
    expect(second).toBeCloseTo(0.3, 1);
  });

  it('steps against the gradient of the log loss, as finite differences give it', async () => {
    const features = new FeatureExtractor('words', 64).extract('one two three two');
    const options = { labels: 3, buckets: 64, epochs: 0, learningRate: 0.1, decay: 0, seed: 1 };
    const model = await trainSoftmax([], options);
    for (let at = 0; at < model.weights.length; at++) model.weights[at] = Math.sin(at) / 2;
    const loss = () => -Math.log(softmax(logits(model, features, new Float64Array(3)), 1)[2]);
    const probabilities = softmax(logits(model, features, new Float64Array(3)), 1);
    for (let row = 0; row < 3; row++) {
      for (let at = 0; at < features.indices.length; at++) {
        const position = row * 64 + features.indices[at];
        const before = model.weights[position];
        model.weights[position] = before + 1e-3;
        const up = loss();
        model.weights[position] = before - 1e-3;
        const numeric = (up - loss()) / 2e-3;
        model.weights[position] = before;
        expect((probabilities[row] - (row === 2 ? 1 : 0)) * features.values[at]).toBeCloseTo(numeric, 4);
      }
    }
  });
});

describe('calibration', () => {
  it('finds the temperature that the labels were drawn with', () => {
    const random = seededRandom(3);
    const drawn = Array.from({ length: 4000 }, () => {
      const scores = Float64Array.from({ length: 4 }, () => 8 * (random() - 0.5));
      const probabilities = softmax(scores.slice(), 2.5);
      let rest = random();
      let label = 0;
      while (label < 3 && (rest -= probabilities[label]) > 0) label++;
      return { scores, label };
    });
    const temperature = fitTemperature(drawn);
    expect(temperature).toBeGreaterThan(2.2);
    expect(temperature).toBeLessThan(2.8);
    expect(measure(drawn, temperature).calibrationError).toBeLessThan(0.03);
    expect(measure(drawn, 1).calibrationError).toBeGreaterThan(0.1);
  });
});

describe('fitCalibration', () => {
  it('finds the temperature and the biases that the labels were drawn with', () => {
    const random = seededRandom(4);
    const planted = [1.5, -0.5, -1];
    const drawn = Array.from({ length: 8000 }, () => {
      const scores = Float64Array.from({ length: 3 }, () => 6 * (random() - 0.5));
      const probabilities = softmax(
        scores.map((score, row) => score + planted[row]),
        1.6,
      );
      let rest = random();
      let label = 0;
      while (label < 2 && (rest -= probabilities[label]) > 0) label++;
      return { scores, label };
    });
    const { temperature, bias } = fitCalibration(drawn, 3);
    expect(Math.abs(temperature - 1.6)).toBeLessThan(0.1);
    for (const [row, value] of planted.entries()) expect(Math.abs(bias[row] - value)).toBeLessThan(0.15);
  });

  it('changes no decision where all are right', () => {
    const examples = Array.from({ length: 40 }, (_, index) => {
      const label = index < 36 ? 0 : 1;
      return { scores: Float64Array.from([label === 0 ? 5 : -5, 0]), label };
    });
    const { temperature, bias } = fitCalibration(examples, 2);
    const shifted = examples.map(({ scores, label }) => ({
      label,
      scores: scores.map((score, row) => score + bias[row]),
    }));
    expect(measure(shifted, temperature).accuracy).toBe(1);
    // 36 and 4 examples in a row that are right do not warrant certainty: 36.5 of 37, and 4.5 of 5.
    expect(softmax(shifted[0].scores, temperature)[0]).toBeCloseTo(36.5 / 37, 3);
    expect(softmax(shifted[39].scores, temperature)[1]).toBeCloseTo(4.5 / 5, 3);
  });
});

describe('areaUnderCurve', () => {
  it('counts the pairs in the right order, ties half', () => {
    const random = seededRandom(5);
    const scored = Array.from({ length: 300 }, () => ({
      score: Math.floor(random() * 20),
      isPositive: random() < 0.3,
    }));
    let pairs = 0;
    let right = 0;
    for (const a of scored) {
      for (const b of scored) {
        if (!a.isPositive || b.isPositive) continue;
        pairs++;
        right += a.score > b.score ? 1 : a.score === b.score ? 0.5 : 0;
      }
    }
    expect(areaUnderCurve(scored)).toBeCloseTo(right / pairs, 12);
    expect(areaUnderCurve([{ score: 1, isPositive: true }])).toBeNaN();
  });
});

describe('reliability', () => {
  it('puts a certain prediction in the last bin, and counts all', () => {
    const examples = [
      { scores: Float64Array.from([1000, 0]), label: 0 },
      { scores: Float64Array.from([0, 0]), label: 1 },
    ];
    const found = reliability(examples, 1).filter((bin) => bin.examples > 0);
    expect(found).toEqual([
      { from: 0.5, to: 0.6, examples: 1, predicted: 0.5, observed: 0 },
      { from: 0.9, to: 1, examples: 1, predicted: 1, observed: 1 },
    ]);
  });
});

describe('trainTextClassifier', () => {
  it('tells domains apart, and comes back from its file with the same answers', async () => {
    const { classifier, report } = await trainTextClassifier({ examples: examples(), buckets: 2 ** 14 });
    expect(classifier.labels).toEqual(['code', 'documentation', 'maths']);
    expect(report.ensemble.accuracy).toBeGreaterThan(0.95);
    expect(report.members.map(({ view }) => view)).toEqual(['words', 'characters']);
    expect(report.confusion.flat().reduce((sum, count) => sum + count)).toBe(
      report.labels.reduce((sum, { test }) => sum + test, 0),
    );
    const path = join(folder, 'domains.classifier');
    await classifier.save(path);
    const loaded = await TextClassifier.load(path);
    for (const text of [
      prose(900),
      code(900),
      'Question: 3 + 4?\nAnswer: 3 + 4 = 7\n#### 7',
      '',
      '\ud83d',
      'ω'.repeat(10),
    ]) {
      expect(loaded.predict(text)).toEqual(classifier.predict(text));
    }
    expect(loaded.predict(code(901))).toMatchObject({ label: 'code' });
    const again = await trainTextClassifier({ examples: examples(), buckets: 2 ** 14 });
    await again.classifier.save(join(folder, 'again'));
    expect((await readFile(join(folder, 'again'))).equals(await readFile(path))).toBe(true);
  });

  it('refuses files that are damaged', async () => {
    const path = join(folder, 'domains.classifier');
    const whole = await readFile(path);
    const damaged: [string, Buffer][] = [
      ['wrong first bytes', Buffer.from('something else entirely')],
      ['cut', whole.subarray(0, whole.length - 5)],
      ['header', whole.subarray(0, 20)],
    ];
    for (const [name, bytes] of damaged) {
      await writeFile(join(folder, 'damaged'), bytes);
      await expect(TextClassifier.load(join(folder, 'damaged')), name).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    }
    await expect(TextClassifier.load(join(folder, 'absent'))).rejects.toMatchObject({ code: 'INPUT_NOT_FOUND' });
  });

  it('refuses examples that cannot be learned from', async () => {
    const one = [{ text: 'a', label: 'x' }];
    await expect(trainTextClassifier({ examples: one })).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    await expect(trainTextClassifier({ examples: [] })).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    for (const bad of [
      { text: ' \n', label: 'x' },
      { text: 'a', label: '' },
    ]) {
      await expect(trainTextClassifier({ examples: [...one, bad] })).rejects.toMatchObject({
        code: 'INPUT_INVALID',
        message: expect.stringContaining('Example 2') as string,
      });
    }
    const few = [...one, { text: 'b', label: 'y' }];
    await expect(trainTextClassifier({ examples: few })).rejects.toThrow(/has no example in the/);
  });

  it('is stopped by its signal', async () => {
    const controller = new AbortController();
    const training = trainTextClassifier({
      examples: examples(),
      buckets: 2 ** 14,
      signal: controller.signal,
      onProgress: ({ task, completed }) => {
        if (task === 'train words' && completed === 1) setImmediate(() => controller.abort());
      },
    });
    await expect(training).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
