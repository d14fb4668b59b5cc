/** What a source hands to the filters, and how it names what it cannot read. */

import { CurationError } from '../errors.js';

export interface RawDocument {
  /** Unique inside the corpus. */
  id: string;
  /** Path of the file inside its source; empty for generated documents. */
  path: string;
  /** Text as found; undefined when it could not be decoded (binary). */
  text: string | undefined;
  /** UTF-8 bytes of the input as found, for the counts. */
  inputBytes: number;
  repairs: string[];
  license?: string;
}

/** A file of a source as the inventory found it. */
export interface InputFile {
  /** Relative to the source's path, forward slashes. */
  path: string;
  bytes: number;
  modified: number;
}

/** Receives what a source reads besides documents. */
export interface SourceObserver {
  /** A file was read to its end; `sha256` is of the bytes on disk. */
  onFile(file: { path: string; bytes: number; sha256: string }): void;
  /** Something could not be used. Throws when the plan says so. */
  onBadInput(location: string, reason: string): void;
  /** A document that is not read for a stated reason (too large); counted with the drops. */
  onSkipped(id: string, path: string, reason: string, detail: string, bytes: number): void;
}

export function inputError(location: string, reason: string, cause?: unknown): CurationError {
  return new CurationError('INPUT_INVALID', `${location}: ${reason}.`, {
    value: location,
    remedy:
      "Repair or remove it and run again to continue, or curate with onBadInput: 'skip' into another folder to leave such input out.",
    cause,
  });
}
