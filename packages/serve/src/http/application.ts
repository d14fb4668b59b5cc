/** The routes, and around them what every answer has in common: guards, error shape, metrics, request log. */

import { randomUUID } from 'node:crypto';
import { Hono, type Context } from 'hono';
import { cors } from 'hono/cors';
import { ApiError, toApiError } from '../api/api-error.js';
import { chatCompletion } from '../api/chat-completions.js';
import { completion } from '../api/completions.js';
import { respond, type Answer } from '../api/respond.js';
import type { RequestRecord, Service } from '../api/service.js';
import type { RequestEvent } from '../types.js';
import { checkApiKey, checkHost, readJsonBody } from './guards.js';
import type { Metrics } from './metrics.js';

export interface ApplicationOptions {
  service: Service;
  metrics: Metrics;
  bodyBytes: number;
  apiKey?: string;
  corsOrigins: readonly string[];
  /** Names this server answers to; changes when it listens. */
  allowedHosts: () => ReadonlySet<string> | undefined;
  chatPage?: string;
  isClosing: () => boolean;
  onRequest?: (event: RequestEvent) => void;
}

const knownPaths = new Set(['/', '/health', '/metrics', '/v1/models', '/v1/chat/completions', '/v1/completions']);

export function createApplication(options: ApplicationOptions): Hono {
  const { service, metrics } = options;
  const app = new Hono();
  app.use(async (c, next) => {
    await next();
    metrics.request(knownPaths.has(c.req.path) ? c.req.path : 'other', c.res.status);
  });
  if (options.corsOrigins.length > 0) {
    app.use('/v1/*', cors({ origin: [...options.corsOrigins], allowHeaders: ['authorization', 'content-type'] }));
  }
  app.use(async (c, next) => {
    checkHost(options.allowedHosts(), c.req.header('host'));
    await next();
  });
  app.use('/v1/*', async (c, next) => {
    checkApiKey(options.apiKey, c.req.header('authorization'));
    await next();
  });

  const model = { id: service.modelName, object: 'model', created: service.created, owned_by: 'xgen-small' };
  app.get('/v1/models', (c) => c.json({ object: 'list', data: [model] }));
  app.get('/v1/models/:id{.+}', (c) => {
    if (c.req.param('id') === service.modelName) return c.json(model);
    throw new ApiError(404, `The model '${c.req.param('id')}' does not exist.`, 'model_not_found', 'model');
  });
  app.post('/v1/chat/completions', (c) => generate(c, options, 'chatcmpl', chatCompletion));
  app.post('/v1/completions', (c) => generate(c, options, 'cmpl', completion));
  app.get('/health', (c) => {
    const { active, waiting } = service.loop.engine;
    const closing = options.isClosing();
    return c.json(
      { status: closing ? 'closing' : 'ok', model: service.modelName, active, waiting },
      closing ? 503 : 200,
    );
  });
  app.get('/metrics', (c) =>
    c.text(metrics.render(service.loop.engine.stats()), 200, {
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
    }),
  );
  const { chatPage } = options;
  if (chatPage !== undefined) {
    app.get('/', (c) =>
      c.html(chatPage, 200, { 'content-security-policy': pagePolicy, 'referrer-policy': 'no-referrer' }),
    );
  }
  app.notFound((c) => {
    const known = knownPaths.has(c.req.path);
    const error = known
      ? new ApiError(405, `${c.req.method} is not allowed on ${c.req.path}.`, 'method_not_allowed')
      : new ApiError(404, `There is no ${c.req.method} ${c.req.path} here.`, 'unknown_url');
    return errorResponse(error);
  });
  app.onError((error) => errorResponse(toApiError(error)));
  return app;
}

/** The page is one file: nothing from elsewhere runs in it, and it talks to this server only. */
const pagePolicy =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const errorResponse = (error: ApiError): Response =>
  Response.json(error.body, { status: error.status, headers: error.headers });

async function generate(
  c: Context,
  options: ApplicationOptions,
  prefix: string,
  prepare: (service: Service, body: unknown, record: RequestRecord) => Answer,
): Promise<Response> {
  const { service, metrics } = options;
  const started = performance.now();
  const { signal } = c.req.raw;
  const record: RequestRecord = {
    id: `${prefix}-${randomUUID().replaceAll('-', '')}`,
    promptTokens: 0,
    completionTokens: () => 0,
    cancelled: false,
  };
  let reported = false;
  const report = (error?: unknown): void => {
    if (reported) return;
    reported = true;
    const cancelled = record.cancelled || signal.aborted;
    const milliseconds = performance.now() - started;
    const completionTokens = record.completionTokens();
    const { promptTokens, firstTokenAt } = record;
    metrics.generation({
      milliseconds,
      firstTokenMilliseconds: firstTokenAt === undefined ? undefined : firstTokenAt - started,
      promptTokens,
      completionTokens,
      cancelled,
    });
    options.onRequest?.({
      id: record.id,
      method: c.req.method,
      path: c.req.path,
      status: cancelled ? 499 : error === undefined ? 200 : toApiError(error).status,
      milliseconds,
      promptTokens,
      completionTokens,
      cancelled,
      ...(error === undefined ? {} : { error: errorText(error) }),
    });
  };
  try {
    const body = await readJsonBody(c.req.raw, options.bodyBytes);
    return await respond(service, prepare(service, body, record), record, signal, report);
  } catch (error) {
    report(error);
    throw error;
  }
}

function errorText(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `${error instanceof Error ? error.message : String(error)}${cause}`;
}
