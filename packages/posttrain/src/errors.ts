/**
 * The one error class of this package. `code` is stable and meant for programs; the message names the offending
 * value and the remedy and is meant for people.
 */
const marker = Symbol.for('@xgen-small/posttrain/PosttrainError');

export type PosttrainErrorCode =
  | 'FILE_NOT_FOUND'
  | 'READ_FAILED'
  | 'INVALID_LINE'
  | 'INVALID_RECORD'
  | 'INVALID_STAGE'
  | 'INVALID_ARGUMENT'
  | 'EMPTY_DATA'
  | 'CONVERSATION_TOO_LONG'
  | 'PROMPT_TOO_LONG'
  | 'MISSING_FIELD'
  | 'REWARD_FAILED'
  | 'RUN_MISMATCH'
  | 'NON_FINITE_LOSS'
  | 'LOG_PROBABILITY_MISMATCH'
  | 'ABORTED';

export interface PosttrainErrorOptions {
  /** The value at fault, as it came in. */
  value?: unknown;
  /** What the caller can do about it; appended to the message. */
  remedy?: string;
  cause?: unknown;
}

export class PosttrainError extends Error {
  override readonly name = 'PosttrainError';
  readonly [marker] = true;
  readonly value?: unknown;
  readonly remedy?: string;

  constructor(
    readonly code: PosttrainErrorCode,
    message: string,
    { value, remedy, cause }: PosttrainErrorOptions = {},
  ) {
    super(remedy === undefined ? message : `${message} ${remedy}`, cause === undefined ? undefined : { cause });
    this.value = value;
    this.remedy = remedy;
  }

  /** True for errors of any copy of this package, where `instanceof` fails between duplicates. */
  static isInstance(error: unknown): error is PosttrainError {
    return typeof error === 'object' && error !== null && marker in error;
  }
}
