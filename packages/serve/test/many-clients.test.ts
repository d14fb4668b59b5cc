import { createConnection } from 'node:net';
import { GenerationEngine } from '@xgen-small/model-core';
import { afterEach, beforeEach, describe, expect, it, vi, type MockInstance } from 'vitest';
import type { RequestEvent } from '../src/index.js';
import { startServer, tinyModel, type Running } from './tiny-model.js';

interface Completion {
  choices: { text: string }[];
}

async function complete(url: string, fields: Record<string, unknown>, signal?: AbortSignal): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny', temperature: 0, ...fields }),
    signal,
  });
}

const textOf = async (response: Response): Promise<string> => ((await response.json()) as Completion).choices[0].text;

/** Nothing here may print: that is the application's business. */
let printed: MockInstance[];
beforeEach(() => {
  printed = (['log', 'info', 'warn', 'error'] as const).map((name) => vi.spyOn(console, name));
});
afterEach(() => {
  for (const spy of printed) {
    expect(spy).not.toHaveBeenCalled();
    spy.mockRestore();
  }
});

async function withEngine(): Promise<Running & { engine: GenerationEngine; events: RequestEvent[] }> {
  const { model } = await tinyModel();
  const engine = new GenerationEngine(model, { maximumBatchTokens: 64, cacheTokens: 4096, prefixCache: true });
  const events: RequestEvent[] = [];
  const running = await startServer({
    model: undefined,
    engine,
    stopTokens: [],
    limits: { contextTokens: 512, maximumWaiting: 1000 },
    onRequest: (event) => events.push(event),
  });
  return { ...running, engine, events };
}

async function untilIdle(engine: GenerationEngine): Promise<void> {
  while (engine.active + engine.waiting > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('32 requests at once', () => {
  it('get the same greedy text as each alone', async () => {
    const { server, address, engine } = await withEngine();
    const prompts = Array.from(
      { length: 32 },
      (_, i) => `${'The quick brown fox. '.repeat(i % 5)}What is ${i} + ${i * 7}?`,
    );
    const alone: string[] = [];
    for (const prompt of prompts) alone.push(await textOf(await complete(address.url, { prompt, max_tokens: 24 })));
    const together = await Promise.all(
      prompts.map(async (prompt) => textOf(await complete(address.url, { prompt, max_tokens: 24 }))),
    );
    expect(together).toEqual(alone);
    expect(new Set(alone).size).toBeGreaterThan(8);
    await server.close();
    engine.dispose();
  });
});

describe('the prefix cache', () => {
  it('changes no greedy text, cold or warm', async () => {
    const { server, address, engine } = await withEngine();
    const beginning = 'The quick brown fox jumps over the lazy dog. '.repeat(8);
    const prompts = ['Was it?', 'What is 12 + 30?', 'Was it? Yes.'].map((end) => beginning + end);
    const ask = async () => {
      const texts: string[] = [];
      for (const prompt of prompts) texts.push(await textOf(await complete(address.url, { prompt, max_tokens: 24 })));
      return texts;
    };
    engine.clearPrefixCache();
    const cold: string[] = [];
    for (const prompt of prompts) {
      engine.clearPrefixCache();
      cold.push(await textOf(await complete(address.url, { prompt, max_tokens: 24 })));
    }
    const before = engine.stats().cachedPromptTokens;
    expect(await ask()).toEqual(cold);
    expect(await ask()).toEqual(cold);
    expect(engine.stats().cachedPromptTokens).toBeGreaterThan(before + 100);
    await server.close();
    engine.dispose();
  });
});

describe('clients that hang up', () => {
  it('200 of them half-way, streaming or not, leave the server sound', async () => {
    const { server, address, engine, events } = await withEngine();
    const request = { prompt: 'The quick brown fox', max_tokens: 400 };
    const before = await textOf(await complete(address.url, { ...request, max_tokens: 12 }));
    const controllers = Array.from({ length: 100 }, () => new AbortController());
    const waiting = controllers.map(({ signal }, i) =>
      complete(address.url, { ...request, prompt: `${i} ${request.prompt}` }, signal).catch(() => 'hung up'),
    );
    while (engine.active + engine.waiting < 100) await new Promise((resolve) => setTimeout(resolve, 5));
    const streaming = Array.from({ length: 100 }, async (_, i) => {
      const controller = new AbortController();
      const stream = await complete(address.url, { ...request, stream: true }, controller.signal);
      const reader = stream.body?.getReader();
      for (let chunks = 0; chunks < 1 + (i % 4); chunks++) await reader?.read();
      controller.abort();
    });
    for (const controller of controllers) {
      await new Promise((resolve) => setTimeout(resolve, 3));
      controller.abort();
    }
    expect(await Promise.all(waiting)).toEqual(new Array(100).fill('hung up'));
    await Promise.all(streaming);
    while (events.length < 201) await new Promise((resolve) => setTimeout(resolve, 5));
    await untilIdle(engine);
    expect(engine.stats()).toMatchObject({ active: 0, waiting: 0 });
    expect(engine.stats().freeBlocks).toBe(engine.stats().totalBlocks);
    const hungUp = events.filter(({ cancelled }) => cancelled);
    expect(hungUp).toHaveLength(200);
    expect(hungUp.every(({ status }) => status === 499)).toBe(true);
    // None was generated to its end for nobody.
    const spent = hungUp.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
    expect(spent).toBeLessThan(200 * 400 * 0.75);
    expect(await textOf(await complete(address.url, { ...request, max_tokens: 12 }))).toBe(before);
    await server.close();
    engine.dispose();
  });

  it('while sending their request, or before its first token, cost nothing', async () => {
    const { server, address, engine, events } = await withEngine();
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const socket = createConnection(address.port, address.host);
        await new Promise((resolve) => socket.once('connect', resolve));
        const body = JSON.stringify({ model: 'tiny', prompt: 'The', max_tokens: 500 });
        const sent = i % 2 === 0 ? body.slice(0, 10) : body;
        socket.write(
          `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${sent}`,
          () => socket.destroy(),
        );
        await new Promise((resolve) => socket.once('close', resolve));
      }),
    );
    while (events.length < 20) await new Promise((resolve) => setTimeout(resolve, 5));
    await untilIdle(engine);
    expect(events.every(({ cancelled }) => cancelled)).toBe(true);
    expect(engine.stats().freeBlocks).toBe(engine.stats().totalBlocks);
    await server.close();
    engine.dispose();
  });
});

describe('while the model generates', () => {
  it('the server goes on answering between forwards', async () => {
    const { server, address, engine } = await withEngine();
    const long = Promise.all(
      Array.from({ length: 8 }, async (_, i) =>
        textOf(await complete(address.url, { prompt: `Count ${i}`, max_tokens: 300 })),
      ),
    );
    let answered = 0;
    let seen = 0;
    const finished = long.then(() => true);
    while (!(await Promise.race([finished, new Promise<false>((resolve) => setTimeout(() => resolve(false), 1))]))) {
      const response = await fetch(`${address.url}/health`);
      const { active } = (await response.json()) as { active: number };
      answered++;
      seen = Math.max(seen, active);
    }
    expect(answered).toBeGreaterThan(10);
    expect(seen).toBe(8);
    await server.close();
    engine.dispose();
  });
});

describe('memory', () => {
  it('stays where it is over hundreds of requests', async () => {
    const { server, address, engine } = await withEngine();
    const round = async (requests: number): Promise<void> => {
      for (let i = 0; i < requests; i += 10) {
        await Promise.all(
          Array.from({ length: 10 }, async (_, j) => {
            const response = await complete(address.url, {
              prompt: `Round ${i + j}`,
              max_tokens: 8,
              stream: j % 2 === 0,
            });
            await response.text();
          }),
        );
      }
      globalThis.gc?.();
    };
    expect(globalThis.gc, 'vitest.config.ts passes --expose-gc').toBeTypeOf('function');
    await round(100);
    const before = process.memoryUsage();
    await round(200);
    const after = process.memoryUsage();
    const grown = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
    expect(grown).toBeLessThan(4e6);
    await server.close();
    engine.dispose();
  });
});
