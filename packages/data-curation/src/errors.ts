/**
 * The one error class of this package. `code` is stable and meant for programs; the message names the offending value and
 * the remedy for people. `CurationError.isInstance` works across duplicate copies of the package.
 */

const marker = Symbol.for('xgen-small.data-curation.CurationError');

export type CurationErrorCode =
  | 'PLAN_INVALID'
  | 'OPTION_INVALID'
  | 'OUTPUT_FOLDER_MISMATCH'
  | 'OUTPUT_FOLDER_BUSY'
  | 'OUTPUT_CORRUPT'
  | 'DOWNLOAD_FAILED'
  | 'INPUT_NOT_FOUND'
  | 'INPUT_CHANGED'
  | 'INPUT_INVALID'
  | 'WORKER_FAILED'
  | 'WORKER_MISSING'
  | 'SLURM_NOT_FOUND'
  | 'SLURM_FAILED'
  | 'CLUSTER_RUN_NOT_FOUND'
  | 'CLUSTER_RUN_ACTIVE'
  | 'CLUSTER_TASKS_MISSING'
  | 'PLAN_CHANGED'
  | 'SOFTWARE_CHANGED'
  | 'ABORTED';

export interface CurationErrorDetails {
  /** The value that was refused. */
  value?: unknown;
  /** What to do about it. */
  remedy?: string;
  cause?: unknown;
}

export class CurationError extends Error {
  readonly code: CurationErrorCode;
  readonly value?: unknown;
  readonly remedy?: string;
  readonly [marker] = true;

  constructor(code: CurationErrorCode, message: string, details: CurationErrorDetails = {}) {
    const text = details.remedy === undefined ? message : `${message} ${details.remedy}`;
    super(text, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'CurationError';
    this.code = code;
    this.value = details.value;
    this.remedy = details.remedy;
  }

  static isInstance(error: unknown): error is CurationError {
    return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[marker] === true;
  }
}
