/** The trainer's error: a code, the offending value and the remedy, as in every package. */
const marker = Symbol.for('@xgen-small/trainer/error');

export type TrainerErrorCode =
  | 'INVALID_RECIPE'
  | 'RECIPE_NOT_FOUND'
  | 'RUN_MISMATCH'
  | 'RUN_LOCKED'
  | 'CORRUPT_RUN'
  | 'STAGE_NOT_READY'
  | 'NO_DISK_SPACE'
  | 'BACKEND_UNAVAILABLE'
  | 'INVALID_ARGUMENT'
  | 'INTERRUPTED';

export class TrainerError extends Error {
  override readonly name = 'TrainerError';
  readonly value: unknown;
  readonly remedy: string | undefined;
  readonly [marker] = true;

  constructor(
    readonly code: TrainerErrorCode,
    message: string,
    details: { value?: unknown; remedy?: string; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.value = details.value;
    this.remedy = details.remedy;
  }

  static isInstance(error: unknown): error is TrainerError {
    return typeof error === 'object' && error !== null && marker in error;
  }
}
