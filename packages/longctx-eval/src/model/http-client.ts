/**
 * One JSON request with time-out and retries, and errors that say what to do. Retried: lost connections, time-outs, 408, 409,
 * 429 and 5xx; the wait doubles each time, with jitter, and gives way to the server's Retry-After.
 */

import { EvaluationError, type EvaluationErrorCode } from '../errors.js';
import type { OpenAiEndpointOptions } from './options.js';

export type HttpOptions = Pick<
  OpenAiEndpointOptions,
  'apiKey' | 'headers' | 'timeout' | 'retries' | 'retryDelay' | 'fetch'
>;

const longestWait = 60_000;

export async function postJson(
  url: string,
  body: unknown,
  options: HttpOptions,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const { retries = 4, retryDelay = 500 } = options;
  for (let attempt = 0; ; attempt++) {
    const outcome = await attemptPost(url, body, options, signal);
    if ('value' in outcome) return outcome.value;
    if (signal?.aborted) {
      throw new EvaluationError('ABORTED', `The request to ${url} was interrupted.`, { cause: signal.reason });
    }
    if (!outcome.retry || attempt >= retries) throw outcome.error;
    const backoff = retryDelay * 2 ** attempt * (0.75 + Math.random() / 2);
    await sleep(Math.min(longestWait, outcome.waitAtLeast ?? backoff), signal);
  }
}

type Outcome = { value: unknown } | { error: EvaluationError; retry: boolean; waitAtLeast?: number };

async function attemptPost(
  url: string,
  body: unknown,
  { apiKey, headers, timeout = 120_000, fetch: fetchFunction = fetch }: HttpOptions,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const limit = AbortSignal.timeout(timeout);
  let response: Response;
  let text: string;
  try {
    response = await fetchFunction(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        ...headers,
      },
      body: JSON.stringify(body),
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    });
    text = await response.text();
  } catch (cause) {
    return { error: connectionError(url, timeout, limit.aborted, cause), retry: true };
  }
  if (!response.ok) return refusal(url, response, text);
  try {
    return { value: JSON.parse(text) };
  } catch (cause) {
    const error = new EvaluationError('ENDPOINT_BAD_RESPONSE', `${url} answered with something that is not JSON.`, {
      value: text.slice(0, 200),
      remedy: 'Check that baseUrl ends in the version (…/v1) and is no web page.',
      cause,
    });
    return { error, retry: false };
  }
}

function connectionError(url: string, timeout: number, timedOut: boolean, cause: unknown): EvaluationError {
  if (timedOut) {
    return new EvaluationError('ENDPOINT_TIMEOUT', `${url} gave no answer within ${timeout / 1000} s.`, {
      value: timeout,
      remedy: 'Raise timeout, or lower concurrency.',
      cause,
    });
  }
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : '';
  return new EvaluationError('ENDPOINT_UNREACHABLE', `${url} cannot be reached${inner === '' ? '' : ` (${inner})`}.`, {
    value: url,
    remedy: 'Check the address and that the server runs.',
    cause,
  });
}

const codes: Record<number, { code: EvaluationErrorCode; remedy: string }> = {
  401: { code: 'ENDPOINT_UNAUTHORIZED', remedy: 'Pass a valid apiKey.' },
  403: { code: 'ENDPOINT_UNAUTHORIZED', remedy: 'This key or host has no access.' },
  404: {
    code: 'ENDPOINT_MODEL_NOT_FOUND',
    remedy: 'Check the model name and that baseUrl ends in the version (…/v1).',
  },
  429: { code: 'ENDPOINT_RATE_LIMITED', remedy: 'Lower concurrency or raise retries.' },
};

function refusal(url: string, response: Response, text: string): Outcome {
  const { status } = response;
  const server = status >= 500;
  const known = codes[status] ?? {
    code: server ? 'ENDPOINT_FAILED' : 'ENDPOINT_REJECTED',
    remedy: server ? "See the server's log." : 'See its message.',
  };
  const error = new EvaluationError(known.code, `${url} answered ${status}: ${messageOf(text)}`, {
    value: status,
    remedy: known.remedy,
  });
  const retryAfter = Number(response.headers.get('retry-after'));
  return {
    error,
    retry: server || [408, 409, 429].includes(status),
    ...(retryAfter > 0 ? { waitAtLeast: retryAfter * 1000 } : {}),
  };
}

/** OpenAI's `error.message`, else the beginning of the body. */
function messageOf(text: string): string {
  try {
    const body = JSON.parse(text) as { error?: { message?: unknown } | string };
    const message = typeof body.error === 'string' ? body.error : body.error?.message;
    if (typeof message === 'string') return message.endsWith('.') ? message : `${message}.`;
  } catch {
    // Not JSON: the text itself says more than this parser could.
  }
  return text.trim() === '' ? 'no message.' : `${text.trim().slice(0, 300)}.`;
}

function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, milliseconds);
    signal?.addEventListener('abort', finish, { once: true });
  });
}
