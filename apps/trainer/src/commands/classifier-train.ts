/** `xgen classifier train`: a quality or domain classifier from labelled files, and how good it is on texts held out. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  readLabelledFiles,
  trainTextClassifier,
  type ClassifierReport,
  type LabelledPath,
} from '@xgen-small/data-curation';
import { TrainerError } from '../errors.js';
import { domainName } from '../recipe/recipe-schema.js';
import { formatCount, formatPercent, formatTable } from '../terminal/format.js';
import { createProgressDisplay } from '../terminal/progress-display.js';
import { ReasonCounts } from '../terminal/reason-counts.js';

export interface ClassifierTrainOptions {
  output: string;
  kind: 'quality' | 'domain';
  label: string;
  textField: string;
  labelField: string;
  examples: number;
  seed: number;
  onBadInput: 'fail' | 'skip';
}

export async function classifierTrainCommand(
  files: readonly string[],
  options: ClassifierTrainOptions,
  signal: AbortSignal,
): Promise<void> {
  const { kind, label, textField, labelField, seed, onBadInput } = options;
  const display = createProgressDisplay(process.stdout);
  const skipped = new ReasonCounts();
  try {
    const { classifier, report } = await trainTextClassifier({
      examples: readLabelledFiles(files.map(labelledPath), {
        textField,
        labelField,
        seed,
        maximumPerLabel: options.examples,
        onBadInput,
        onSkipped: skipped.add,
        signal,
        onProgress: (event) => display.update(event),
      }),
      seed,
      signal,
      onProgress: (event) => display.update(event),
    });
    display.finish();
    checkLabels(kind, label, classifier.labels);
    const output = resolve(options.output);
    await classifier.save(output);
    for (const line of reportLines(report)) display.line(line);
    for (const line of skipped.lines('Skipped')) display.line(line);
    display.line(`\nClassifier: ${output}`);
    display.line(
      kind === 'quality'
        ? `In a recipe: curation.quality: [{ method: 'classifier', model: '${options.output}', label: '${label}' }]`
        : `In a recipe: curation.domains: { method: 'classifier', model: '${options.output}' }`,
    );
  } finally {
    display.finish();
  }
}

/** `label=path`, unless a file has that very name. */
function labelledPath(argument: string): LabelledPath {
  const at = argument.indexOf('=');
  if (at < 1 || existsSync(argument)) return { path: argument };
  return { label: argument.slice(0, at), path: argument.slice(at + 1) };
}

function checkLabels(kind: 'quality' | 'domain', label: string, labels: readonly string[]): void {
  if (kind === 'quality' && !labels.includes(label)) {
    throw new TrainerError(
      'INVALID_ARGUMENT',
      `No example has the label "${label}", which the quality is to be the probability of.`,
      {
        value: label,
        remedy: `Give --label with one of ${labels.join(', ')}; or --kind domain.`,
      },
    );
  }
  const wrong = labels.find((name) => !domainName.safeParse(name).success);
  if (kind === 'domain' && wrong !== undefined) {
    throw new TrainerError('INVALID_ARGUMENT', `The label "${wrong}" cannot be the name of a domain.`, {
      value: wrong,
      remedy: 'Name domains with up to 32 lower-case letters, digits and hyphens, a letter first.',
    });
  }
}

function reportLines({ labels, members, ensemble, reliability, confusion }: ClassifierReport): string[] {
  const names = labels.map(({ label }) => label);
  const measures = [
    ...members.flatMap(({ view, before, after }) => [
      { name: `${view}, as trained`, ...before },
      { name: `${view}, calibrated`, ...after },
    ]),
    { name: 'together', ...ensemble },
  ];
  return [
    'Texts',
    formatTable([
      ['label', 'train', 'calibration', 'test', 'AUC'],
      ...labels.map((row) => [
        row.label,
        ...[row.train, row.calibration, row.test].map(formatCount),
        row.areaUnderCurve.toFixed(4),
      ]),
    ]),
    '\nOn the test part',
    formatTable([
      ['', 'accuracy', 'log loss', 'calibration error'],
      ...measures.map((row) => [
        row.name,
        formatPercent(row.accuracy),
        row.logLoss.toFixed(4),
        row.calibrationError.toFixed(4),
      ]),
    ]),
    '\nHow sure it was, and how often it was right',
    formatTable([
      ['probability', 'texts', 'predicted', 'right'],
      ...reliability
        .filter(({ examples }) => examples > 0)
        .map((bin) => [
          `${bin.from.toFixed(1)}–${bin.to.toFixed(1)}`,
          formatCount(bin.examples),
          formatPercent(bin.predicted),
          formatPercent(bin.observed),
        ]),
    ]),
    '\nLabels (rows) and what they were taken for (columns)',
    formatTable([['', ...names], ...confusion.map((row, index) => [names[index], ...row.map(String)])]),
  ];
}
