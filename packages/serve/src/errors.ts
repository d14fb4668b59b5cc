/** The one error class of this package: a stable `code`, the offending value and what to do about it. */

export type ServeErrorCode =
  | 'INVALID_OPTIONS'
  | 'ADDRESS_IN_USE'
  | 'LISTEN_FAILED'
  | 'ALREADY_LISTENING'
  | 'QUEUE_FULL'
  | 'CONTEXT_TOO_LONG'
  | 'SHUTTING_DOWN'
  | 'GENERATION_FAILED'
  | 'CHAT_PAGE_MISSING';

export interface ServeErrorDetails {
  /** The value that was refused. */
  value?: unknown;
  /** What the caller can do about it. */
  remedy?: string;
  cause?: unknown;
}

const marker = Symbol.for('@xgen-small/serve/ServeError');

export class ServeError extends Error {
  readonly code: ServeErrorCode;
  readonly value?: unknown;
  readonly remedy?: string;

  constructor(code: ServeErrorCode, message: string, details: ServeErrorDetails = {}) {
    const text = details.remedy === undefined ? message : `${message} ${details.remedy}`;
    super(text, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ServeError';
    this.code = code;
    this.value = details.value;
    this.remedy = details.remedy;
    Object.defineProperty(this, marker, { value: true });
  }

  /** True for an error of this class, also when it comes from another copy of the package. */
  static isInstance(error: unknown): error is ServeError {
    return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[marker] === true;
  }
}
