/** `xgen classifier apply`: the records of files with the scores or labels that classifiers give them. */
import { resolve } from 'node:path';
import { classifyFiles, TextClassifier } from '@xgen-small/data-curation';
import { TrainerError } from '../errors.js';
import { formatCount, formatPercent, formatTable } from '../terminal/format.js';
import { createProgressDisplay } from '../terminal/progress-display.js';
import { ReasonCounts } from '../terminal/reason-counts.js';

export interface ClassifierApplyOptions {
  output: string;
  label?: string;
  column?: string;
  textField: string;
  onBadInput: 'fail' | 'skip';
}

export async function classifierApplyCommand(
  paths: readonly string[],
  { output, label, column, textField, onBadInput }: ClassifierApplyOptions,
  signal: AbortSignal,
): Promise<void> {
  const { models, files } = await partition(paths);
  const classifiers: TextClassifier[] = [];
  for (const model of models) classifiers.push(await TextClassifier.load(model));
  const display = createProgressDisplay(process.stdout);
  const skipped = new ReasonCounts();
  try {
    const { labels, documents, ...done } = await classifyFiles({
      classifiers,
      paths: files,
      outputFolder: output,
      scoreOf: label,
      column,
      textField,
      onBadInput,
      onSkipped: skipped.add,
      signal,
      onProgress: (event) => display.update(event),
    });
    display.finish();
    display.line(
      formatTable([
        ['most probable', 'documents', 'share', 'mean probability'],
        ...labels.map((row) => [
          row.label,
          formatCount(row.documents),
          formatPercent(row.documents / Math.max(1, documents)),
          row.documents === 0 ? '·' : row.meanProbability.toFixed(3),
        ]),
      ]),
    );
    for (const line of skipped.lines('Without a prediction')) display.line(line);
    const before = done.files.filter(({ wasDone }) => wasDone).length;
    const note = before === 0 ? '' : `, ${before} of them done before`;
    display.line(`\n${formatCount(documents)} documents in ${done.files.length} files${note}: ${done.outputFolder}`);
  } finally {
    display.finish();
  }
}

/** The first ones that are classifiers; the rest is to be classified. */
async function partition(paths: readonly string[]): Promise<{ models: string[]; files: string[] }> {
  let count = 0;
  while (count < paths.length && (await TextClassifier.isFile(paths[count]))) count++;
  if (count === 0) {
    throw new TrainerError('INVALID_ARGUMENT', `${resolve(paths[0])} is not a classifier.`, {
      value: paths[0],
      remedy: 'Give first a file that `xgen classifier train` wrote, then the files to classify.',
    });
  }
  if (count === paths.length) {
    throw new TrainerError('INVALID_ARGUMENT', 'There are classifiers, but no files to classify.', {
      value: paths,
      remedy: 'Give the files after the classifiers.',
    });
  }
  return { models: paths.slice(0, count), files: paths.slice(count) };
}
