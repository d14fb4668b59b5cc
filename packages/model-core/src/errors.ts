/**
 * The one error class of this package. `code` is stable and meant for programs; the message names the offending
 * value and the remedy and is meant for people.
 */
const marker = Symbol.for('@xgen-small/model-core/ModelError');

export type ModelErrorCode =
  | 'INVALID_CONFIG'
  | 'UNSUPPORTED_CONFIG'
  | 'INVALID_ARGUMENT'
  | 'INVALID_BATCH'
  | 'INVALID_CHECKPOINT'
  | 'MISSING_TENSOR'
  | 'UNEXPECTED_TENSOR'
  | 'SHAPE_MISMATCH'
  | 'INVALID_SAFETENSORS'
  | 'TRUNCATED_FILE'
  | 'NOT_FINITE'
  | 'FILE_NOT_FOUND'
  | 'WRITE_FAILED'
  | 'REQUEST_TOO_LONG'
  | 'DUPLICATE_REQUEST'
  | 'CACHE_EXHAUSTED'
  | 'ABORTED'
  | 'DISPOSED';

export interface ModelErrorOptions {
  /** The value at fault, as it came in. */
  value?: unknown;
  /** What the caller can do about it; appended to the message. */
  remedy?: string;
  cause?: unknown;
  /** The file at fault and the byte in it, where a file is. */
  file?: string;
  offset?: number;
}

export class ModelError extends Error {
  override readonly name = 'ModelError';
  readonly [marker] = true;
  readonly value?: unknown;
  readonly remedy?: string;
  readonly file?: string;
  readonly offset?: number;

  constructor(
    readonly code: ModelErrorCode,
    message: string,
    { value, remedy, cause, file, offset }: ModelErrorOptions = {},
  ) {
    super(remedy === undefined ? message : `${message} ${remedy}`, cause === undefined ? undefined : { cause });
    this.value = value;
    this.remedy = remedy;
    this.file = file;
    this.offset = offset;
  }

  /** True for errors of any copy of this package, where `instanceof` fails between duplicates. */
  static isInstance(error: unknown): error is ModelError {
    return typeof error === 'object' && error !== null && marker in error;
  }
}
