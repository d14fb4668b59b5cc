/** What happens to a record that is classified, whatever kind of file it comes from, and what is counted on the way. */

import { CurationError } from '../errors.js';
import { repairText } from '../text/encoding-repair.js';
import type { ClassifierEnsemble } from './ensemble.js';

/** One file's. */
export interface Classification {
  readonly ensemble: ClassifierEnsemble;
  readonly textField: string;
  readonly scoreOf: string | undefined;
  readonly column: string;
  /** Records written. */
  documents: number;
  /** By most probable label, in the ensemble's order; `probability` is the sum. */
  readonly labels: { documents: number; probability: number }[];
  readonly badInputs: Record<string, number>;
  /** Counts what cannot be used, or throws. */
  refuse(location: string, reason: string): void;
  /** Called for each record written; throws when the run is interrupted. */
  onDocument(): void;
}

/** Names of the new fields. */
export function addedFields({ column, scoreOf }: Pick<Classification, 'column' | 'scoreOf'>): string[] {
  return scoreOf === undefined ? [column, `${column}Probability`] : [column];
}

/** The values of the new fields: the score alone, or label and probability; null for a record without text. */
export function predict(
  location: string,
  value: unknown,
  classification: Classification,
): [score: number | null] | [label: string | null, probability: number | null] {
  const { ensemble, scoreOf, textField } = classification;
  if (typeof value !== 'string' || value.trim() === '') {
    classification.refuse(location, `no text in "${textField}"`);
    return scoreOf === undefined ? [null, null] : [null];
  }
  const { label, probability, probabilities } = ensemble.predict(repairText(value).text);
  const counts = classification.labels[ensemble.labels.indexOf(label)];
  counts.documents++;
  counts.probability += probability;
  return scoreOf === undefined ? [label, round(probability)] : [round(probabilities[scoreOf])];
}

/** As the scores of a curation are. */
function round(probability: number): number {
  return Math.round(probability * 10_000) / 10_000;
}

export function fieldTaken(location: string, name: string): CurationError {
  return new CurationError('INPUT_INVALID', `${location} has a field "${name}" already.`, {
    value: name,
    remedy: 'Choose another name for the new one.',
  });
}

export function badInput(location: string, reason: string): CurationError {
  return new CurationError('INPUT_INVALID', `${location}: ${reason}.`, {
    value: location,
    remedy: 'Correct or remove it, or have such records skipped.',
  });
}
