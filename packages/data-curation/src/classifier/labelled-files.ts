/**
 * Labelled seeds from files. A path with a label of its own may be anything that holds documents, all of that label; without one it is
 * JSON Lines or Parquet with a label in each record. Of a label with more documents than wanted, those of smallest hash are taken, so the
 * choice depends on the documents and not on their order. Memory: twice the wanted documents a label, of each what a classifier looks at.
 */

import { resolve } from 'node:path';
import { CurationError } from '../errors.js';
import { readDocuments } from '../sources/read-documents.js';
import { repairText } from '../text/encoding-repair.js';
import { compareStrings, hash48 } from '../util/hash.js';
import { visibleCharacters } from './features.js';
import { kindOfRecordFile, readRecords, requireFile } from './record-files.js';
import type { LabelledText } from './train.js';

export interface LabelledPath {
  /** JSON Lines, Parquet; with a label also a web archive, a text, or a folder of any of these. */
  path: string;
  /** Of all its documents; default: that of `labelField` in each. */
  label?: string;
}

export interface LabelledFilesOptions {
  /** Field or column that holds the text; default `text`. */
  textField?: string;
  /** Field or column that holds the label, a text, number or truth value; default `label`. */
  labelField?: string;
  /** Documents of a label at most; default 20,000. */
  maximumPerLabel?: number;
  seed?: number;
  /** What to do about records that cannot be read, or have no text or label: `fail` (the default) or `skip`. */
  onBadInput?: 'fail' | 'skip';
  /** Hears of each record that is skipped. */
  onSkipped?: (location: string, reason: string) => void;
  signal?: AbortSignal;
  onProgress?: (event: { task: string; completed: number; unit: string; detail?: string }) => void;
}

/** More labels than this are no labels, but ids or scores. */
const mostLabels = 256;
const documentsPerReport = 1000;

/** @throws CurationError `OPTION_INVALID`, `INPUT_NOT_FOUND`, `INPUT_INVALID` (also when a path holds no document), `ABORTED`. */
export async function* readLabelledFiles(
  paths: readonly LabelledPath[],
  options: LabelledFilesOptions = {},
): AsyncGenerator<LabelledText> {
  const { maximumPerLabel = 20_000, seed = 0, signal, onProgress } = options;
  if (!Number.isSafeInteger(maximumPerLabel) || maximumPerLabel < 1) {
    throw new CurationError('OPTION_INVALID', `maximumPerLabel is ${maximumPerLabel}.`, {
      value: maximumPerLabel,
      remedy: 'Give 1 or more.',
    });
  }
  const chosen = new Map<string, { rank: number; text: string }[]>();
  const cut = (list: { rank: number; text: string }[]) =>
    list.sort((a, b) => a.rank - b.rank || compareStrings(a.text, b.text)).splice(maximumPerLabel);
  let documents = 0;
  for (const entry of paths) {
    let found = 0;
    for await (const { text, label } of readPath(entry, options)) {
      if (signal?.aborted === true) {
        throw new CurationError('ABORTED', 'Reading the examples was interrupted.', { cause: signal.reason });
      }
      found++;
      const list = chosen.get(label) ?? [];
      if (list.length === 0) chosen.set(label, list);
      list.push({ rank: hash48('example', seed, text), text: visiblePart(text) });
      if (list.length >= 2 * maximumPerLabel) cut(list);
      if (chosen.size > mostLabels) throw tooManyLabels(entry.path, options);
      if (++documents % documentsPerReport === 0) {
        onProgress?.({ task: 'read examples', completed: documents, unit: 'documents', detail: entry.path });
      }
    }
    if (found > 0) continue;
    throw new CurationError('INPUT_INVALID', `${entry.path} holds no labelled document.`, {
      value: entry.path,
      remedy: `Check the path, and that the text is in the field "${options.textField ?? 'text'}".`,
    });
  }
  for (const label of [...chosen.keys()].sort(compareStrings)) {
    const list = chosen.get(label)!;
    cut(list);
    for (const { text } of list) yield { text, label };
  }
}

/** As a string of its own: a slice would hold the whole text. */
function visiblePart(text: string): string {
  if (text.length <= visibleCharacters) return text;
  return JSON.parse(JSON.stringify(text.slice(0, visibleCharacters))) as string;
}

async function* readPath(entry: LabelledPath, options: LabelledFilesOptions): AsyncGenerator<LabelledText> {
  const path = resolve(entry.path);
  const { textField = 'text', labelField = 'label', onBadInput = 'fail', signal } = options;
  const refuse = (location: string, reason: string): void => {
    if (onBadInput === 'skip') {
      options.onSkipped?.(location, reason);
      return;
    }
    throw new CurationError('INPUT_INVALID', `${location}: ${reason}.`, {
      value: location,
      remedy: 'Correct or remove the record, or have such records skipped.',
    });
  };
  const isRecords = kindOfRecordFile(path) !== undefined;
  if (!isRecords && entry.label !== undefined) {
    for await (const { text } of readDocuments(path, { textField, signal, onBadInput: refuse })) {
      yield { text, label: entry.label };
    }
    return;
  }
  await requireFile(path);
  if (!isRecords) {
    throw new CurationError(
      'INPUT_INVALID',
      `${entry.path} is neither JSON Lines nor Parquet, and has no label of its own.`,
      {
        value: entry.path,
        remedy:
          'Give a .jsonl (.gz, .zst) or .parquet file with a label in each record, or a label for the whole path.',
      },
    );
  }
  const fields = entry.label === undefined ? [textField, labelField] : [textField];
  for await (const { number, values, problem } of readRecords(path, fields)) {
    const location = number === 0 ? entry.path : `${entry.path}#${number}`;
    const [text, label] = [values[0], entry.label ?? values[1]];
    if (problem !== undefined) refuse(location, problem);
    else if (typeof text !== 'string') refuse(location, `no text in "${textField}"`);
    else if (text.trim() === '') refuse(location, `the text in "${textField}" is empty`);
    else if (!isLabel(label)) refuse(location, `no label in "${labelField}"`);
    else yield { text: repairText(text).text, label: String(label) };
  }
}

function isLabel(value: unknown): value is string | number | boolean {
  return (typeof value === 'string' && value.trim() !== '') || typeof value === 'number' || typeof value === 'boolean';
}

function tooManyLabels(path: string, { labelField = 'label' }: LabelledFilesOptions): CurationError {
  return new CurationError(
    'INPUT_INVALID',
    `${path} brings more than ${mostLabels} different labels in "${labelField}".`,
    {
      value: labelField,
      remedy: 'Name the field that holds the class of a document, not an id or a score.',
    },
  );
}
