/**
 * The one error class of this package. `code` is stable and meant for programs; the message names the offending
 * value and the remedy and is meant for people.
 */
const marker = Symbol.for('@xgen-small/pretrain/PretrainError');

export type PretrainErrorCode =
  | 'INVALID_STAGE'
  | 'INVALID_ARGUMENT'
  | 'INVALID_DATA'
  | 'CONTEXT_TOO_LONG'
  | 'UNKNOWN_DOMAIN'
  | 'EMPTY_DOMAIN'
  | 'TOO_MANY_EPOCHS'
  | 'VOCABULARY_MISMATCH'
  | 'RUN_MISMATCH'
  | 'CORRUPT_CHECKPOINT'
  | 'UNSUPPORTED_CHECKPOINT'
  | 'WRITE_FAILED'
  | 'NON_FINITE_LOSS'
  | 'ABORTED';

export interface PretrainErrorOptions {
  /** The value at fault, as it came in. */
  value?: unknown;
  /** What the caller can do about it; appended to the message. */
  remedy?: string;
  cause?: unknown;
}

export class PretrainError extends Error {
  override readonly name = 'PretrainError';
  readonly [marker] = true;
  readonly value?: unknown;
  readonly remedy?: string;

  constructor(
    readonly code: PretrainErrorCode,
    message: string,
    { value, remedy, cause }: PretrainErrorOptions = {},
  ) {
    super(remedy === undefined ? message : `${message} ${remedy}`, cause === undefined ? undefined : { cause });
    this.value = value;
    this.remedy = remedy;
  }

  /** True for errors of any copy of this package, where `instanceof` fails between duplicates. */
  static isInstance(error: unknown): error is PretrainError {
    return typeof error === 'object' && error !== null && marker in error;
  }
}
