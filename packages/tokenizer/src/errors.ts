/** The one error class of this package. Every `code` below is stable; messages carry the offending value and the remedy. */

export type TokenizerErrorCode =
  | 'INVALID_OPTIONS'
  | 'FILE_NOT_FOUND'
  | 'FILE_READ_FAILED'
  | 'FILE_WRITE_FAILED'
  | 'CORRUPT_TOKENIZER_FILE'
  | 'UNSUPPORTED_TOKENIZER'
  | 'UNKNOWN_TOKEN_ID'
  | 'PRE_TOKEN_TOO_LONG'
  | 'INVALID_CHAT_TEMPLATE'
  | 'CHAT_TEMPLATE_FAILED'
  | 'CHAT_TEMPLATE_NOT_PREFIX_STABLE'
  | 'CHAT_TEMPLATE_ALTERS_CONTENT'
  | 'INVALID_MESSAGES'
  | 'CORRUPT_SHARDS'
  | 'TOKENIZER_MISMATCH'
  | 'RESUME_MISMATCH'
  | 'INVALID_CORPUS'
  | 'OUT_OF_RANGE'
  | 'WORKER_FAILED'
  | 'ABORTED'
  | 'CLOSED';

const marker = Symbol.for('@xgen-small/tokenizer/TokenizerError');

export class TokenizerError extends Error {
  readonly code: TokenizerErrorCode;
  /** The value that was refused, when there is one. */
  readonly value?: unknown;
  readonly remedy?: string;
  readonly [marker] = true;

  constructor(
    code: TokenizerErrorCode,
    message: string,
    details: { value?: unknown; remedy?: string; cause?: unknown } = {},
  ) {
    super(details.remedy === undefined ? message : `${message} ${details.remedy}`, { cause: details.cause });
    this.name = 'TokenizerError';
    this.code = code;
    this.value = details.value;
    this.remedy = details.remedy;
  }

  /** True for an error of this class from any copy of this package. */
  static isInstance(error: unknown): error is TokenizerError {
    return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[marker] === true;
  }
}
