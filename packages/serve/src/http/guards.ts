/** What stands before the endpoints: API key, the Host header, the body's size and its JSON. */

import { createHash, timingSafeEqual } from 'node:crypto';
import { ApiError } from '../api/api-error.js';

/** Compares hashes, so that neither the key's length nor its beginning can be timed. */
export function checkApiKey(expected: string | undefined, authorization: string | undefined): void {
  if (expected === undefined) return;
  const given = /^Bearer +(.+)$/i.exec(authorization ?? '')?.[1];
  if (given === undefined) {
    throw new ApiError(401, 'An API key is needed: Authorization: Bearer <key>.', 'missing_api_key', null, {
      'www-authenticate': 'Bearer',
    });
  }
  const digest = (key: string): Buffer => createHash('sha256').update(key).digest();
  if (timingSafeEqual(digest(given), digest(expected))) return;
  throw new ApiError(401, 'The API key is not valid.', 'invalid_api_key', null, { 'www-authenticate': 'Bearer' });
}

/**
 * A page of another site can make the browser ask this machine under that site's name (DNS rebinding). A server that listens
 * on loopback only answers to loopback's names; `undefined` lets every name pass.
 */
export function checkHost(allowed: ReadonlySet<string> | undefined, host: string | undefined): void {
  if (allowed === undefined || host === undefined) return;
  const name = host.replace(/:\d+$/, '').toLowerCase();
  if (allowed.has(name)) return;
  throw new ApiError(
    403,
    `This server does not answer to the host name '${name}'. Start it with that name in allowedHosts.`,
    'host_not_allowed',
  );
}

export const loopbackHosts = ['localhost', '127.0.0.1', '[::1]'];

/**
 * The request's JSON. Its content type must say so: a page of another site can send anything else without the browser asking
 * first. Stops reading where the limit is passed.
 */
export async function readJsonBody(request: Request, limit: number): Promise<unknown> {
  const type = request.headers.get('content-type') ?? '';
  if (!/^application\/([\w.+-]+\+)?json\b/i.test(type)) {
    throw new ApiError(415, `The body must be application/json, not '${type}'.`, 'unsupported_content_type');
  }
  const tooLarge = (): ApiError =>
    new ApiError(413, `The body is larger than ${limit} bytes.`, 'request_too_large', null, { connection: 'close' });
  if (Number(request.headers.get('content-length')) > limit) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Node's web streams are async iterable; the DOM's type does not say so.
  for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > limit) throw tooLarge();
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)));
  } catch (cause) {
    throw new ApiError(400, `The body is not JSON: ${(cause as Error).message}.`, 'invalid_json', null, {}, { cause });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new ApiError(400, 'The body must be a JSON object.', 'invalid_json');
}
