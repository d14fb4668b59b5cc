import { request as httpRequest } from 'node:http';
import type { GenerationEngine, GenerationEvent, GenerationRequest } from '@xgen-small/model-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createServer, ServeError, type RequestEvent } from '../src/index.js';
import { startServer, tinyModel, type Running } from './tiny-model.js';

let running: Running;
beforeAll(async () => {
  running = await startServer({ limits: { bodyBytes: 10_000 }, corsOrigins: ['https://app.example'] });
});
afterAll(() => running.server.close());

const post = (path: string, body: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${running.address.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });

async function errorOf(response: Response) {
  const { error } = (await response.json()) as {
    error: { message: string; type: string; param: unknown; code: unknown };
  };
  return { status: response.status, ...error };
}

describe('what is no request', () => {
  it.each([
    ['malformed JSON', '{"model": "tiny",', 'invalid_json'],
    ['an array', '[]', 'invalid_json'],
    ['nothing', '', 'invalid_json'],
  ])('%s is 400', async (_, body, code) => {
    for (const path of ['/v1/chat/completions', '/v1/completions']) {
      const error = await errorOf(await post(path, body));
      expect(error).toMatchObject({ status: 400, type: 'invalid_request_error', param: null, code });
    }
  });

  it('bytes that are no UTF-8 are 400', async () => {
    const response = await fetch(`${running.address.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new Uint8Array([0x22, 0xff, 0x22]),
    });
    expect(await errorOf(response)).toMatchObject({ status: 400, code: 'invalid_json' });
  });

  it('a body too large is 413, declared or not', async () => {
    const big = JSON.stringify({ model: 'tiny', prompt: 'x'.repeat(20_000) });
    expect(await errorOf(await post('/v1/completions', big))).toMatchObject({ status: 413, code: 'request_too_large' });
    const chunked = await new Promise<number | undefined>((resolve, reject) => {
      const { port, host } = running.address;
      const request = httpRequest(
        { port, host, path: '/v1/completions', method: 'POST', headers: { 'content-type': 'application/json' } },
        (response) => resolve(response.statusCode),
      );
      request.on('error', reject);
      for (let i = 0; i < 20; i++) request.write(big.slice(i * 1000, (i + 1) * 1000));
      request.end();
    });
    expect(chunked).toBe(413);
  });

  it('another content type is 415: a foreign page can send it unasked', async () => {
    const response = await post('/v1/completions', '{}', { 'content-type': 'text/plain' });
    expect(await errorOf(response)).toMatchObject({ status: 415, code: 'unsupported_content_type' });
  });

  it('another path is 404, another method 405', async () => {
    expect(await errorOf(await fetch(`${running.address.url}/v1/embeddings`))).toMatchObject({
      status: 404,
      code: 'unknown_url',
    });
    expect(await errorOf(await fetch(`${running.address.url}/v1/completions`))).toMatchObject({
      status: 405,
      code: 'method_not_allowed',
    });
  });

  it('a foreign host name is 403 (DNS rebinding)', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const { port, host } = running.address;
      httpRequest({ port, host, path: '/v1/models', headers: { host: 'evil.example' } }, (response) =>
        resolve(response.statusCode),
      )
        .on('error', reject)
        .end();
    });
    expect(status).toBe(403);
  });
});

describe('cross-origin requests', () => {
  it('are allowed for the origins given and no other', async () => {
    const ask = (origin: string) => fetch(`${running.address.url}/v1/models`, { headers: { origin } });
    expect((await ask('https://app.example')).headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect((await ask('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
    const closed = await startServer();
    const response = await fetch(`${closed.address.url}/v1/models`, { headers: { origin: 'https://app.example' } });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    await closed.server.close();
  });
});

describe('/metrics', () => {
  it('counts requests and tokens in Prometheus text', async () => {
    const { server, address } = await startServer();
    await fetch(`${address.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', prompt: [5, 6, 7], max_tokens: 4, temperature: 0 }),
    });
    await fetch(`${address.url}/somewhere/else`);
    const response = await fetch(`${address.url}/metrics`);
    expect(response.headers.get('content-type')).toContain('version=0.0.4');
    const text = await response.text();
    const value = (name: string): number => Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
    expect(text).toContain('xgen_http_requests_total{path="/v1/completions",status="200"} 1');
    expect(text).toContain('xgen_http_requests_total{path="other",status="404"} 1');
    expect(value('xgen_prompt_tokens_total')).toBe(3);
    expect(value('xgen_completion_tokens_total')).toBeGreaterThan(0);
    expect(value('xgen_request_seconds_count')).toBe(1);
    expect(value('xgen_first_token_seconds_bucket{le="\\+Inf"}')).toBe(1);
    expect(value('xgen_sequences_active')).toBe(0);
    for (const line of text.trim().split('\n')) {
      expect(line).toMatch(/^(# (HELP|TYPE) xgen_\w+ .+|xgen_\w+(\{[^}]*\})? [-+\d.eE]+)$/);
    }
    await server.close();
  });
});

/** An engine that fails when told to, around nothing. */
class FailingEngine {
  requests = new Map<string, GenerationRequest>();
  failing = false;
  add(request: GenerationRequest): string {
    const id = `r${this.requests.size}`;
    this.requests.set(id, request);
    return id;
  }
  cancel(id: string): void {
    this.requests.delete(id);
  }
  step(): GenerationEvent[] {
    if (this.failing) throw new Error('out of memory in block 3 of /secret/path');
    return [...this.requests.keys()].map((id) => {
      this.requests.delete(id);
      return { id, token: 10, logProbability: -1, finishReason: 'length' as const };
    });
  }
  active = 0;
  waiting = 0;
}

describe('a forward that fails', () => {
  it('fails the requests under way, says so only to the operator, and none after', async () => {
    const { tokenizer } = await tinyModel();
    const engine = new FailingEngine();
    const events: RequestEvent[] = [];
    const server = createServer({
      engine: engine as unknown as GenerationEngine,
      tokenizer,
      modelName: 'tiny',
      limits: { contextTokens: 100 },
      onRequest: (event) => events.push(event),
    });
    const ask = (stream: boolean) =>
      server.fetch(
        new Request('http://localhost/v1/completions', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ model: 'tiny', prompt: 'The', stream }),
        }),
      );
    engine.failing = true;
    const error = await errorOf(await ask(false));
    expect(error).toMatchObject({ status: 500, type: 'server_error' });
    expect(error.message).not.toContain('secret');
    const streamed = await (await ask(true)).text();
    expect(streamed).toContain('"type":"server_error"');
    expect(streamed).not.toContain('[DONE]');
    expect(events.map(({ status }) => status)).toEqual([500, 500]);
    expect(events[0].error).toContain('out of memory in block 3');
    expect(engine.requests.size).toBe(0);
    engine.failing = false;
    expect((await ask(false)).status).toBe(200);
    await server.close();
  });
});

describe('closing', () => {
  it('lets a running answer finish, and takes no new one', async () => {
    const { server, address } = await startServer({ limits: { shutdownGrace: 600_000 } });
    const response = await fetch(`${address.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', prompt: 'The quick', max_tokens: 200, stream: true, temperature: 0 }),
    });
    const reader = response.body?.getReader();
    await reader?.read();
    const closing = server.close();
    expect((await server.fetch(new Request('http://localhost/health'))).status).toBe(503);
    const refused = await server.fetch(
      new Request('http://localhost/v1/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'tiny', prompt: 'The' }),
      }),
    );
    expect(await errorOf(refused)).toMatchObject({ status: 503, code: 'shutting_down' });
    let rest = '';
    for (;;) {
      const part = (await reader?.read()) as { value?: Uint8Array } | undefined;
      if (part?.value === undefined) break;
      rest += new TextDecoder().decode(part.value);
    }
    expect(rest.trimEnd().endsWith('data: [DONE]')).toBe(true);
    await closing;
    await expect(fetch(`${address.url}/health`)).rejects.toThrow();
    await server.close();
  });

  it('cuts off what takes longer than the grace', async () => {
    const { server, address } = await startServer({ limits: { shutdownGrace: 0 } });
    const response = await fetch(`${address.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', prompt: 'The quick', max_tokens: 450, stream: true, temperature: 1 }),
    });
    const reading = response.text();
    await server.close();
    const text = await reading;
    expect(text.includes('shutting_down') || text.includes('[DONE]')).toBe(true);
  });
});

describe('starting', () => {
  it('names the port that is taken', async () => {
    const second = createServer({ ...(await tinyModel()), modelName: 'tiny' });
    const error = await second.listen(running.address.port).catch((reason: unknown) => reason);
    expect(ServeError.isInstance(error) && error.code).toBe('ADDRESS_IN_USE');
    expect((await second.listen()).port).toBeGreaterThan(0);
    await expect(second.listen()).rejects.toMatchObject({ code: 'ALREADY_LISTENING' });
    await second.close();
  });

  it('refuses options that make no server', async () => {
    const tiny = await tinyModel();
    const code = (options: object): unknown => {
      try {
        createServer(options as never);
        return 'none';
      } catch (error) {
        return ServeError.isInstance(error) && error.message;
      }
    };
    expect(code({ tokenizer: tiny.tokenizer, modelName: 'x' })).toContain('either model or engine');
    expect(code({ ...tiny, modelName: '' })).toContain('modelName');
    expect(code({ ...tiny, modelName: 'x', prot: 1 })).toContain('prot');
    expect(code({ ...tiny, modelName: 'x', limits: { maximumActive: -1 } })).toContain('maximumActive');
    expect(code({ ...tiny, tokenizer: {}, modelName: 'x' })).toContain('createDecoder');
  });

  it('binds to loopback unless told otherwise', () => {
    expect(running.address.host).toBe('127.0.0.1');
  });
});
