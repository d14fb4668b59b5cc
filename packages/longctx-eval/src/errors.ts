/** The one error class of this package: a stable `code`, the offending value and what to do about it. */

export type EvaluationErrorCode =
  | 'INVALID_OPTIONS'
  | 'INVALID_DATA'
  | 'MISSING_PEER'
  | 'CONTEXT_TOO_SHORT'
  | 'HAYSTACK_TOO_SHORT'
  | 'ENDPOINT_UNREACHABLE'
  | 'ENDPOINT_TIMEOUT'
  | 'ENDPOINT_UNAUTHORIZED'
  | 'ENDPOINT_MODEL_NOT_FOUND'
  | 'ENDPOINT_REJECTED'
  | 'ENDPOINT_RATE_LIMITED'
  | 'ENDPOINT_FAILED'
  | 'ENDPOINT_BAD_RESPONSE'
  | 'GENERATION_FAILED'
  | 'LOG_MISMATCH'
  | 'LOG_CORRUPT'
  | 'CACHE_CORRUPT'
  | 'SANDBOX_UNAVAILABLE'
  | 'SANDBOX_FAILED'
  | 'ABORTED';

export interface EvaluationErrorDetails {
  /** The value that was refused. */
  value?: unknown;
  /** What the caller can do about it. */
  remedy?: string;
  cause?: unknown;
}

const marker = Symbol.for('@xgen-small/longctx-eval/EvaluationError');

export class EvaluationError extends Error {
  readonly code: EvaluationErrorCode;
  readonly value?: unknown;
  readonly remedy?: string;

  constructor(code: EvaluationErrorCode, message: string, details: EvaluationErrorDetails = {}) {
    const text = details.remedy === undefined ? message : `${message} ${details.remedy}`;
    super(text, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'EvaluationError';
    this.code = code;
    this.value = details.value;
    this.remedy = details.remedy;
    Object.defineProperty(this, marker, { value: true });
  }

  /** True for an error of this class, also when it comes from another copy of the package. */
  static isInstance(error: unknown): error is EvaluationError {
    return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[marker] === true;
  }
}
