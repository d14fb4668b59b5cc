/**
 * Applies a classifier to files: a JSON line for each document, in the order of the files. Memory: one document and the model.
 * Cost: about 0.3 ms a long document, on one thread.
 */

import { CurationError } from '../errors.js';
import type { ReadDocumentsOptions } from '../sources/read-documents.js';
import { readDocuments } from '../sources/read-documents.js';
import { canonicalJson } from '../util/canonical-json.js';
import { LineFile } from '../util/line-file.js';
import type { TextClassifier } from './text-classifier.js';

export interface ClassifyFilesOptions extends Omit<ReadDocumentsOptions, 'onBadInput'> {
  classifier: TextClassifier;
  /** Each JSON Lines, Parquet, a web archive, or a folder of these or of text files. */
  paths: readonly string[];
  /** A JSON line for each document: `{ id, label, probabilities }`. Appears when it is whole. */
  outputPath: string;
  onProgress?: (event: { task: string; completed: number; unit: string; detail?: string }) => void;
}

export interface ClassifyFilesSummary {
  documents: number;
  /** By predicted label, in the classifier's order. */
  labels: { label: string; documents: number; meanProbability: number }[];
  /** Inputs that could not be read, by reason. */
  badInputs: Record<string, number>;
}

const documentsPerReport = 1000;

/** @throws CurationError `INPUT_NOT_FOUND`, `INPUT_INVALID` when no document is found, `ABORTED`. */
export async function classifyFiles(options: ClassifyFilesOptions): Promise<ClassifyFilesSummary> {
  const { classifier, paths, outputPath, onProgress } = options;
  const counts = new Map(classifier.labels.map((label) => [label, { documents: 0, probability: 0 }]));
  const badInputs: Record<string, number> = {};
  let documents = 0;
  const output = new LineFile(outputPath);
  try {
    for (const path of paths) {
      const read = { ...options, onBadInput: (_: string, reason: string) => addOne(badInputs, reason) };
      for await (const { id, text } of readDocuments(path, read)) {
        const { label, probability, probabilities } = classifier.predict(text);
        const rounded = Object.fromEntries(
          Object.entries(probabilities).map(([name, value]) => [name, Math.round(value * 10_000) / 10_000]),
        );
        output.add(canonicalJson({ id, label, probabilities: rounded }));
        const count = counts.get(label)!;
        count.documents++;
        count.probability += probability;
        if (++documents % documentsPerReport === 0) {
          onProgress?.({ task: 'classify', completed: documents, unit: 'documents', detail: path });
        }
      }
    }
    if (documents === 0) {
      throw new CurationError('INPUT_INVALID', `No readable document in ${paths.join(', ')}.`, {
        value: paths,
        remedy: `Check the paths, and that the text is in the field "${options.textField ?? 'text'}".`,
      });
    }
    output.finish();
  } finally {
    output.discard();
  }
  return {
    documents,
    labels: [...counts].map(([label, count]) => ({
      label,
      documents: count.documents,
      meanProbability: count.probability / Math.max(1, count.documents),
    })),
    badInputs,
  };
}

function addOne(counts: Record<string, number>, reason: string): void {
  counts[reason] = (Object.hasOwn(counts, reason) ? counts[reason] : 0) + 1;
}
