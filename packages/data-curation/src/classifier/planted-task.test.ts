/**
 * A task whose best possible answer is known. A text has 24 places; at each stands one of two words, with a chance that depends on the
 * label, independently of the other places. The true probability of a label is then Bayes' rule, and no classifier can be right more often than
 * the label that it favours.
 */

import { describe, expect, it } from 'vitest';
import { seededRandom } from '../util/permutation.js';
import { ClassifierEnsemble } from './ensemble.js';
import { trainTextClassifier } from './train.js';

const places = 24;
const labels = ['high', 'low'] as const;
/** The labels are not equally common, and training must not hide it. */
const prior = [0.25, 0.75];
const chances = (() => {
  const random = seededRandom(11);
  return Array.from({ length: places }, () => labels.map(() => 0.3 + 0.4 * random()));
})();

interface Drawn {
  text: string;
  label: string;
  /** Of the label `high`, given the text. */
  posterior: number;
}

function draw(count: number, seed: number): Drawn[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const truth = random() < prior[0] ? 0 : 1;
    const joint = [...prior];
    const words = chances.map((chance, place) => {
      const isFirst = random() < chance[truth];
      for (const row of [0, 1]) joint[row] *= isFirst ? chance[row] : 1 - chance[row];
      return `${isFirst ? 'ab' : 'yz'}${String.fromCharCode(97 + place)}q`;
    });
    return { text: words.join(' '), label: labels[truth], posterior: joint[0] / (joint[0] + joint[1]) };
  });
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe('a planted task', () => {
  it('is solved nearly as well as it can be, with probabilities that are true', async () => {
    const { classifier, report } = await trainTextClassifier({ examples: draw(12_000, 1), buckets: 2 ** 14 });
    const fresh = draw(6000, 2);
    const predicted = fresh.map(({ text }) => classifier.predict(text));
    const best = mean(fresh.map(({ posterior }) => Math.max(posterior, 1 - posterior)));
    const accuracy = mean(fresh.map(({ label }, index) => (predicted[index].label === label ? 1 : 0)));
    expect(best).toBeGreaterThan(0.8);
    expect(best).toBeLessThan(0.95);
    expect(accuracy).toBeGreaterThan(best - 0.025);
    expect(accuracy).toBeLessThan(best + 0.015);
    // The report was measured on other texts, and says the same.
    expect(report.ensemble.accuracy).toBeGreaterThan(accuracy - 0.04);
    expect(report.ensemble.accuracy).toBeLessThan(accuracy + 0.04);
    expect(report.ensemble.calibrationError).toBeLessThan(0.04);

    const scores = predicted.map(({ probabilities }) => probabilities.high);
    expect(mean(scores.map((score, index) => Math.abs(score - fresh[index].posterior)))).toBeLessThan(0.06);
    // Among texts scored about p, the share p is high: within three standard errors and what is left of bias.
    for (let low = 0; low < 1; low += 0.2) {
      const bin = fresh.flatMap(({ label }, index) =>
        scores[index] >= low && scores[index] < low + 0.2 ? [{ score: scores[index], isHigh: label === 'high' }] : [],
      );
      expect(bin.length).toBeGreaterThan(100);
      const share = mean(bin.map(({ isHigh }) => (isHigh ? 1 : 0)));
      const error = Math.sqrt((share * (1 - share)) / bin.length);
      expect(Math.abs(share - mean(bin.map(({ score }) => score)))).toBeLessThan(3 * error + 0.04);
    }
  });

  it('gives the area under the curve that Bayes’ rule gives, and the rates of its confusion', async () => {
    const drawn = draw(12_000, 3);
    const { report } = await trainTextClassifier({ examples: drawn, buckets: 2 ** 14 });
    const positives = drawn.filter(({ label }) => label === 'high').map(({ posterior }) => posterior);
    const negatives = drawn.filter(({ label }) => label === 'low').map(({ posterior }) => posterior);
    const ordered = mean(
      positives.slice(0, 600).map((high) => mean(negatives.map((low) => (high > low ? 1 : high === low ? 0.5 : 0)))),
    );
    for (const { areaUnderCurve } of report.labels) {
      expect(areaUnderCurve).toBeGreaterThan(ordered - 0.04);
      expect(areaUnderCurve).toBeLessThan(ordered + 0.04);
    }
    const test = report.labels.reduce((sum, row) => sum + row.test, 0);
    const right = report.confusion.reduce((sum, row, index) => sum + row[index], 0);
    expect(right / test).toBeCloseTo(report.ensemble.accuracy, 10);
    expect(report.confusion.map((row) => row.reduce((sum, count) => sum + count))).toEqual(
      report.labels.map((row) => row.test),
    );
    expect(report.reliability.reduce((sum, bin) => sum + bin.examples, 0)).toBe(test);
  });

  it('averages the probabilities of classifiers that were trained apart', async () => {
    const trained = await Promise.all(
      [1, 2].map((seed) => trainTextClassifier({ examples: draw(3000, seed), buckets: 2 ** 12, seed, epochs: 4 })),
    );
    const classifiers = trained.map(({ classifier }) => classifier);
    const ensemble = new ClassifierEnsemble(classifiers);
    const fresh = draw(4000, 9);
    const squaredErrors = (predict: (text: string) => number) =>
      mean(fresh.map(({ text, posterior }) => (predict(text) - posterior) ** 2));
    for (const { text } of fresh.slice(0, 50)) {
      const [first, second] = classifiers.map((classifier) => classifier.predict(text).probabilities.high);
      const { label, probability, probabilities } = ensemble.predict(text);
      expect(probabilities.high).toBeCloseTo((first + second) / 2, 12);
      expect(probability).toBe(probabilities[label]);
    }
    // Two that saw different texts are nearer the truth together than the worse of them, and than their mean error.
    const alone = classifiers.map((classifier) => squaredErrors((text) => classifier.probabilityOf(text, 'high')));
    expect(squaredErrors((text) => ensemble.predict(text).probabilities.high)).toBeLessThan(mean(alone));

    const other = await trainTextClassifier({
      examples: draw(500, 5).map(({ text, label }) => ({ text, label: `${label}est` })),
      buckets: 2 ** 10,
      epochs: 1,
    });
    expect(() => new ClassifierEnsemble([classifiers[0], other.classifier])).toThrow(/high, low; and highest, lowest/);
    expect(() => new ClassifierEnsemble([])).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }) as Error);
  });
});
