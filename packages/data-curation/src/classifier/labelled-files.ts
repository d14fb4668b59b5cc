/**
 * Labelled seeds from files: every document of a path gets the path's label. Of a label with more documents than wanted, those of
 * smallest hash are taken, so the choice depends on the documents and not on their order. Memory: twice the wanted documents a label.
 */

import { CurationError } from '../errors.js';
import type { ReadDocumentsOptions } from '../sources/read-documents.js';
import { readDocuments } from '../sources/read-documents.js';
import { hash48 } from '../util/hash.js';
import type { LabelledText } from './train.js';

export interface LabelledPath {
  label: string;
  /** JSON Lines, Parquet, a web archive, or a folder of these or of text files. */
  path: string;
}

export interface LabelledFilesOptions extends ReadDocumentsOptions {
  /** Documents of a label at most; default 20,000. */
  maximumPerLabel?: number;
  seed?: number;
}

/** @throws CurationError `OPTION_INVALID`, `INPUT_NOT_FOUND`, `INPUT_INVALID` when a path holds no document. */
export async function* readLabelledFiles(
  paths: readonly LabelledPath[],
  options: LabelledFilesOptions = {},
): AsyncGenerator<LabelledText> {
  const { maximumPerLabel = 20_000, seed = 0 } = options;
  if (!Number.isSafeInteger(maximumPerLabel) || maximumPerLabel < 1) {
    throw new CurationError('OPTION_INVALID', `maximumPerLabel is ${maximumPerLabel}.`, {
      value: maximumPerLabel,
      remedy: 'Give 1 or more.',
    });
  }
  for (const label of new Set(paths.map((entry) => entry.label))) {
    const chosen: { rank: number; text: string }[] = [];
    const cut = () => chosen.sort((a, b) => a.rank - b.rank).splice(maximumPerLabel);
    for (const { path } of paths.filter((entry) => entry.label === label)) {
      let found = 0;
      for await (const { text } of readDocuments(path, options)) {
        found++;
        chosen.push({ rank: hash48('example', seed, text), text });
        if (chosen.length >= 2 * maximumPerLabel) cut();
      }
      if (found === 0) {
        throw new CurationError('INPUT_INVALID', `${path} (label "${label}") holds no readable document.`, {
          value: path,
          remedy: `Check the path, and that the text is in the field "${options.textField ?? 'text'}".`,
        });
      }
    }
    cut();
    for (const { text } of chosen) yield { text, label };
  }
}
