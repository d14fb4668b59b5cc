/**
 * An OpenAI-compatible server for one model. The model runs in this process's main thread, a forward at a time; between any two
 * forwards the event loop answers whatever came in. Memory: the key-value cache, allocated once, and the texts under way.
 */

import { randomInt } from 'node:crypto';
import type { Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { GenerationEngine } from '@xgen-small/model-core';
import { z } from 'zod';
import { ServeError } from '../errors.js';
import { GenerationLoop } from '../generation/generation-loop.js';
import type { ListenAddress, Server, ServerLimits, ServerOptions } from '../types.js';
import { createApplication } from './application.js';
import { readChatPage } from './chat-page-file.js';
import { loopbackHosts } from './guards.js';
import { Metrics } from './metrics.js';

const method = (name: string) =>
  z.custom(
    (value) => typeof (value as Record<string, unknown> | null | undefined)?.[name] === 'function',
    `has no ${name}()`,
  );
const count = z.int().positive().optional();

const optionsSchema = z
  .strictObject({
    model: method('hiddenStates').optional(),
    engine: method('step').optional(),
    tokenizer: method('createDecoder'),
    chatTemplate: method('encodePrompt').optional(),
    modelName: z.string().min(1),
    stopTokens: z.array(z.int().min(0)).optional(),
    limits: z
      .strictObject({
        contextTokens: count,
        cacheTokens: count,
        maximumBatchTokens: count,
        maximumActive: count,
        maximumWaiting: count,
        maximumChoices: count,
        bodyBytes: count,
        shutdownGrace: z.number().min(0).optional(),
      })
      .optional(),
    apiKey: z.string().min(1).optional(),
    corsOrigins: z.array(z.string().min(1)).optional(),
    allowedHosts: z.array(z.string().min(1)).optional(),
    chatPage: z.boolean().optional(),
    onRequest: z.custom((value) => typeof value === 'function', 'is no function').optional(),
  })
  .refine(({ model, engine }) => (model === undefined) !== (engine === undefined), 'give either model or engine')
  .refine(({ engine, limits }) => engine === undefined || limits?.contextTokens !== undefined, {
    error: 'an engine of your own needs limits.contextTokens',
  });

/** @throws ServeError INVALID_OPTIONS, CHAT_PAGE_MISSING */
export function createServer(options: ServerOptions): Server {
  checkOptions(options);
  const limits = options.limits ?? {};
  const { engine, contextTokens } = prepareEngine(options, limits);
  const metrics = new Metrics();
  const loop = new GenerationLoop(engine, {
    maximumWaiting: limits.maximumWaiting ?? 256,
    onStep: (milliseconds) => metrics.step(milliseconds),
  });
  let http: HttpServer | undefined;
  let closing: Promise<void> | undefined;
  let hosts: ReadonlySet<string> | undefined;
  const app = createApplication({
    service: {
      loop,
      tokenizer: options.tokenizer,
      chatTemplate: options.chatTemplate,
      modelName: options.modelName,
      created: Math.floor(Date.now() / 1000),
      contextTokens,
      stopTokens: stopTokensOf(options),
      beginningToken: beginningTokenOf(options),
      maximumChoices: limits.maximumChoices ?? 8,
    },
    metrics,
    bodyBytes: limits.bodyBytes ?? 1 << 20,
    apiKey: options.apiKey,
    corsOrigins: options.corsOrigins ?? [],
    allowedHosts: () => hosts,
    chatPage: options.chatPage === false ? undefined : readChatPage(options.modelName),
    isClosing: () => closing !== undefined,
    onRequest: options.onRequest,
  });

  return {
    async listen(port = 0, host = '127.0.0.1') {
      if (http !== undefined || closing !== undefined) {
        throw new ServeError('ALREADY_LISTENING', 'This server has been started already.', {
          remedy: 'Create another one.',
        });
      }
      hosts = hostNames(host, options.allowedHosts);
      http = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as HttpServer;
      try {
        return await listen(http, port, host);
      } catch (error) {
        http = undefined;
        throw error;
      }
    },
    close() {
      closing ??= (async () => {
        const closed = http && new Promise<void>((resolve) => http?.close(() => resolve()));
        http?.closeIdleConnections();
        await loop.close(limits.shutdownGrace ?? 10_000);
        if (http) await closeConnections(http, closed);
        if (options.engine === undefined) engine.dispose();
      })();
      return closing;
    },
    async fetch(request) {
      return app.fetch(request);
    },
  };
}

/** Connections end as their last answer is through; one whose client does not read is cut off after a while. */
async function closeConnections(http: HttpServer, closed: Promise<void> | undefined): Promise<void> {
  const deadline = performance.now() + 5000;
  const timer = setInterval(() => {
    if (performance.now() > deadline) http.closeAllConnections();
    else http.closeIdleConnections();
  }, 20);
  await closed;
  clearInterval(timer);
}

function checkOptions(options: ServerOptions): void {
  const result = optionsSchema.safeParse(options);
  if (result.success) return;
  const problems = result.error.issues.map(({ path, message }) => [...path.map(String), message].join(': '));
  throw new ServeError('INVALID_OPTIONS', `createServer: ${problems.join('; ')}.`, {
    value: problems,
    remedy: 'See ServerOptions.',
    cause: result.error,
  });
}

function prepareEngine(
  options: ServerOptions,
  limits: ServerLimits,
): { engine: GenerationEngine; contextTokens: number } {
  if (options.engine) return { engine: options.engine, contextTokens: limits.contextTokens ?? 0 };
  const model = options.model as NonNullable<ServerOptions['model']>;
  const positions = model.config.maximumPositions;
  const context = Math.min(limits.contextTokens ?? positions, positions);
  const cacheTokens = limits.cacheTokens ?? Math.max(context, Math.min(8 * context, 65_536));
  const engine = new GenerationEngine(model, {
    maximumBatchTokens: Math.max(limits.maximumBatchTokens ?? 256, limits.maximumActive ?? 64),
    cacheTokens,
    maximumSequences: limits.maximumActive ?? 64,
    // Requests without a seed differ from one start of the server to the next.
    seed: randomInt(2 ** 31),
    // Conversations send their beginning again with every turn.
    prefixCache: true,
  });
  return { engine, contextTokens: Math.min(context, cacheTokens) };
}

function stopTokensOf({ stopTokens, model, chatTemplate }: ServerOptions): number[] | undefined {
  if (stopTokens) return [...stopTokens];
  const known = [...[model?.config.eosTokenId ?? []].flat(), ...(chatTemplate?.endOfTurnTokens ?? [])];
  return model === undefined && known.length === 0 ? undefined : [...new Set(known)];
}

function beginningTokenOf({ model, tokenizer }: ServerOptions): number | undefined {
  return model?.config.bosTokenId ?? tokenizer.tokenId('<|endoftext|>') ?? tokenizer.tokenId('<|begin_of_text|>');
}

/** On loopback only loopback's names and the ones given; elsewhere every name, unless some are given. */
function hostNames(host: string, allowed: readonly string[] | undefined): ReadonlySet<string> | undefined {
  const loopback = host === 'localhost' || host === '::1' || /^127\./.test(host);
  if (!loopback && allowed === undefined) return undefined;
  return new Set([...loopbackHosts, host.toLowerCase(), ...(allowed ?? []).map((name) => name.toLowerCase())]);
}

function listen(http: HttpServer, port: number, host: string): Promise<ListenAddress> {
  return new Promise((resolve, reject) => {
    const fail = (cause: NodeJS.ErrnoException): void => {
      const busy = cause.code === 'EADDRINUSE';
      reject(
        new ServeError(
          busy ? 'ADDRESS_IN_USE' : 'LISTEN_FAILED',
          busy ? `Port ${port} on ${host} is taken.` : `Cannot listen on ${host}:${port}: ${cause.message}.`,
          { value: port, remedy: busy ? 'Choose another port, or 0 for a free one.' : undefined, cause },
        ),
      );
    };
    http.once('error', fail);
    http.listen(port, host, () => {
      http.off('error', fail);
      const address = http.address() as AddressInfo;
      const name = address.family === 'IPv6' ? `[${host}]` : host;
      resolve({ host, port: address.port, url: `http://${name}:${address.port}` });
    });
  });
}
