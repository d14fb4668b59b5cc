/** Errors as OpenAI's API gives them: an HTTP status and `{ error: { message, type, param, code } }`. */

import { ServeError } from '../errors.js';
import { ModelError } from '@xgen-small/model-core';

export type ApiErrorType = 'invalid_request_error' | 'authentication_error' | 'rate_limit_error' | 'server_error';

export interface ApiErrorBody {
  error: { message: string; type: ApiErrorType; param: string | null; code: string | null };
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code: string | null,
    readonly param: string | null = null,
    readonly headers: Readonly<Record<string, string>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'ApiError';
  }

  get type(): ApiErrorType {
    if (this.status === 401 || this.status === 403) return 'authentication_error';
    if (this.status === 429) return 'rate_limit_error';
    return this.status >= 500 ? 'server_error' : 'invalid_request_error';
  }

  get body(): ApiErrorBody {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

/** The answer for anything that was thrown while a request was handled. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (ServeError.isInstance(error)) {
    if (error.code === 'QUEUE_FULL') {
      return new ApiError(429, error.message, 'queue_full', null, { 'retry-after': '1' }, { cause: error });
    }
    if (error.code === 'SHUTTING_DOWN') {
      return new ApiError(503, error.message, 'shutting_down', null, { 'retry-after': '5' }, { cause: error });
    }
  }
  if (ModelError.isInstance(error)) {
    if (error.code === 'REQUEST_TOO_LONG') {
      return new ApiError(400, error.message, 'context_length_exceeded', null, {}, { cause: error });
    }
    if (error.code === 'INVALID_ARGUMENT') {
      return new ApiError(400, error.message, 'invalid_value', null, {}, { cause: error });
    }
  }
  // What went wrong inside is the operator's business (onRequest gets it), not the client's.
  return new ApiError(500, 'The server failed while handling the request.', 'server_error', null, {}, { cause: error });
}
