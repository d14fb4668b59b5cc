import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { mathAccuracy, openAiEndpoint, type OpenAiEndpointOptions } from '../src/index.js';

type Body = Record<string, unknown>;
type Handler = (body: Body, response: ServerResponse, request: IncomingMessage) => void;

let close: (() => Promise<void>) | undefined;
afterEach(() => close?.());

/** A server that answers as told; keeps the bodies it got. */
async function serve(handler: Handler) {
  const bodies: Body[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (part: Buffer) => (text += part.toString()));
    request.on('end', () => {
      const body = JSON.parse(text) as Body;
      bodies.push(body);
      handler(body, response, request);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  close = () =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/`;
  const endpoint = (options: Partial<OpenAiEndpointOptions> = {}) =>
    openAiEndpoint({ baseUrl, model: 'm', retryDelay: 1, ...options });
  return { bodies, endpoint };
}

const answer = (response: ServerResponse, body: object, status = 200, headers = {}): void => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
};
const text = (content: string): object => ({
  choices: [{ text: content, finish_reason: 'stop' }],
  usage: { prompt_tokens: 3, completion_tokens: 2 },
});
const refusal = (message: string): object => ({ error: { message, type: 'x', param: null, code: null } });

describe('openAiEndpoint', () => {
  it('asks /completions for text and /chat/completions for messages', async () => {
    const { bodies, endpoint } = await serve((body, response, request) => {
      if (request.url === '/v1/completions') return answer(response, text(`after ${String(body.prompt)}`));
      expect(request.url).toBe('/v1/chat/completions');
      expect(request.headers.authorization).toBe('Bearer key');
      answer(response, { choices: [{ message: { content: 'hello' }, finish_reason: 'length' }] });
    });
    const model = endpoint({ apiKey: 'key', extendedSampling: true, extraBody: { user: 'me' } });
    const messages = [{ role: 'user' as const, content: 'hi' }];
    const reported: number[] = [];
    const completions = await model.generate(['a', messages], {
      maximumNewTokens: 5,
      temperature: 0.5,
      topP: 0.9,
      topK: 4,
      stop: ['\n'],
      seeds: [11, 12],
      onCompletion: (index) => reported.push(index),
    });
    expect(completions).toEqual([
      { text: 'after a', finishReason: 'stop', promptTokens: 3, completionTokens: 2 },
      { text: 'hello', finishReason: 'length' },
    ]);
    expect(reported.sort()).toEqual([0, 1]);
    const common = { model: 'm', max_tokens: 5, temperature: 0.5, top_p: 0.9, top_k: 4, stop: ['\n'], user: 'me' };
    expect(bodies.find((body) => 'prompt' in body)).toEqual({ ...common, prompt: 'a', seed: 11 });
    expect(bodies.find((body) => 'messages' in body)).toEqual({ ...common, messages, seed: 12 });
  });

  it('tries again after 429 and 5xx and lost connections, and obeys Retry-After', async () => {
    let calls = 0;
    let waited = 0;
    const { endpoint } = await serve((_, response) => {
      calls++;
      if (calls === 1) return answer(response, refusal('busy'), 503);
      if (calls === 2) {
        response.socket?.destroy();
        return;
      }
      if (calls === 3) {
        waited = performance.now();
        return answer(response, refusal('slow down'), 429, { 'retry-after': '1' });
      }
      waited = performance.now() - waited;
      answer(response, text('at last'));
    });
    const [completion] = await endpoint().generate(['x'], { maximumNewTokens: 1 });
    expect(completion.text).toBe('at last');
    expect(calls).toBe(4);
    expect(waited).toBeGreaterThanOrEqual(990);
  });

  it.each([
    [400, 'ENDPOINT_REJECTED', 1],
    [401, 'ENDPOINT_UNAUTHORIZED', 1],
    [404, 'ENDPOINT_MODEL_NOT_FOUND', 1],
    [429, 'ENDPOINT_RATE_LIMITED', 3],
    [500, 'ENDPOINT_FAILED', 3],
  ])('gives up on %d with %s after %d attempts, and says what the server said', async (status, code, attempts) => {
    const { bodies, endpoint } = await serve((_, response) => answer(response, refusal('for a reason'), status));
    const error: unknown = await endpoint({ retries: 2 })
      .generate(['x'], { maximumNewTokens: 1 })
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code, value: status });
    expect((error as Error).message).toContain('for a reason.');
    expect(bodies).toHaveLength(attempts);
  });

  it('tells a time-out, a dead address and a web page apart', async () => {
    const slow = await serve(() => undefined);
    const options = { maximumNewTokens: 1 };
    let attempts = 0;
    const counted: typeof fetch = (...input) => {
      attempts++;
      return fetch(...input);
    };
    const impatient = slow.endpoint({ timeout: 50, retries: 1, fetch: counted });
    await expect(impatient.generate(['x'], options)).rejects.toMatchObject({ code: 'ENDPOINT_TIMEOUT' });
    expect(attempts).toBe(2);
    await close?.();
    await expect(slow.endpoint({ retries: 0 }).generate(['x'], options)).rejects.toMatchObject({
      code: 'ENDPOINT_UNREACHABLE',
    });
    const page = await serve((_, response) => response.end('<html>'));
    await expect(page.endpoint().generate(['x'], options)).rejects.toMatchObject({ code: 'ENDPOINT_BAD_RESPONSE' });
    await close?.();
    const odd = await serve((_, response) => answer(response, { choices: [] }));
    await expect(odd.endpoint().generate(['x'], options)).rejects.toMatchObject({ code: 'ENDPOINT_BAD_RESPONSE' });
    expect(() => openAiEndpoint({ baseUrl: 'nowhere', model: 'm' })).toThrow('baseUrl');
  });

  it('keeps to its concurrency, keeps the order, and stops the rest when one fails', async () => {
    let active = 0;
    let most = 0;
    const { bodies, endpoint } = await serve((body, response) => {
      if (body.prompt === '99') return answer(response, refusal('no'), 400);
      most = Math.max(most, ++active);
      // Nobody is answered before four are there, and then late enough for a fifth to show.
      const wait = setInterval(
        () => {
          if (most < 4) return;
          clearInterval(wait);
          active--;
          answer(response, text(String(body.prompt)));
        },
        5 + (Number(body.prompt) % 3) * 5,
      );
    });
    const prompts = Array.from({ length: 20 }, (_, i) => String(i));
    const completions = await endpoint({ concurrency: 4 }).generate(prompts, { maximumNewTokens: 1 });
    expect(completions.map((completion) => completion.text)).toEqual(prompts);
    expect(most).toBe(4);
    const before = bodies.length;
    const failing = endpoint({ concurrency: 2 }).generate(['1', '99', ...prompts], { maximumNewTokens: 1 });
    await expect(failing).rejects.toMatchObject({ code: 'ENDPOINT_REJECTED' });
    expect(bodies.length - before).toBeLessThan(prompts.length);
  });

  it('stops on its signal while it waits to try again', async () => {
    const { endpoint } = await serve((_, response) => answer(response, refusal('later'), 429, { 'retry-after': '60' }));
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const stopped = endpoint().generate(['x'], { maximumNewTokens: 1, signal: controller.signal });
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('carries an evaluation', async () => {
    const { endpoint } = await serve((body, response) => {
      const [{ content }] = body.messages as { content: string }[];
      const [a, b] = (content.match(/\d+/g) ?? []).map(Number);
      answer(response, { choices: [{ message: { content: `Sum.\n#### ${a + b}` }, finish_reason: 'stop' }] });
    });
    const problems = [
      { id: 'a', question: '1 plus 2?', answer: 3 },
      { id: 'b', question: '5 plus 5?', answer: 11 },
    ];
    const { accuracy, answered, model } = await mathAccuracy({ model: endpoint(), problems });
    expect([accuracy.mean, answered, model]).toEqual([0.5, 1, 'm']);
  });
});
