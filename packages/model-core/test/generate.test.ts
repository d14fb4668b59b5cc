import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CausalLanguageModel, generate, ModelError, type GenerationEvent } from '../src/index.js';
import { useBackend } from './support/backends.js';
import { smallConfig } from './support/configs.js';

/** Every token is a letter; token 60 decodes to nothing, 59 to half of a two-byte character. */
const decode = (tokens: number[]): string =>
  tokens.map((token) => (token === 60 ? '' : token === 59 ? '\ufffd' : String.fromCharCode(65 + token))).join('');

describe('generate', () => {
  let model: CausalLanguageModel;
  let free: Awaited<ReturnType<typeof generate>>;
  const requests = [
    { promptTokens: [5, 17, 3], maximumNewTokens: 20 },
    { promptTokens: [44, 2, 60], maximumNewTokens: 15, temperature: 1, seed: 5, topLogProbabilities: 2 },
    { promptTokens: [8], maximumNewTokens: 1, id: 'named' },
  ];

  beforeAll(async () => {
    await useBackend('cpu');
    model = CausalLanguageModel.initialize(smallConfig(), { seed: 11, standardDeviation: 0.3 });
    free = await generate(model, requests, { decode });
  });
  afterAll(() => {
    model.dispose();
    expect(tf.memory().numTensors).toBe(0);
  });

  it('returns all completions in order of request', () => {
    expect(free.map(({ tokens }) => tokens.length)).toEqual([20, 15, 1]);
    expect(free.map(({ finishReason }) => finishReason)).toEqual(['length', 'length', 'length']);
    expect(free[2].id).toBe('named');
    expect(free[1].topLogProbabilities!.map((best) => best.length)).toEqual(Array<number>(15).fill(2));
    expect(free[0]).not.toHaveProperty('topLogProbabilities');
    for (const { tokens, logProbabilities, text } of free) {
      expect(logProbabilities).toHaveLength(tokens.length);
      expect(logProbabilities.every((p) => p <= 0)).toBe(true);
      expect(text).toBe(decode(tokens));
    }
  });

  it('stops at a stop string inside or across tokens and cuts it from the text', async () => {
    const whole = free[0].text!;
    const stop = whole.slice(6, 9);
    const at = whole.indexOf(stop);
    const events: GenerationEvent[] = [];
    const [stopped, other] = await generate(
      model,
      [{ ...requests[0], stopStrings: ['never there', stop] }, requests[1]],
      { decode, onEvent: (event) => events.push(event) },
    );
    expect(stopped).toMatchObject({ finishReason: 'stop', stopString: stop, text: whole.slice(0, at) });
    expect(stopped.tokens).toEqual(free[0].tokens.slice(0, stopped.tokens.length));
    expect(decode(stopped.tokens).endsWith(stop)).toBe(true);
    expect(other).toEqual(free[1]);
    const own = events.filter(({ id }) => id === stopped.id);
    expect(own.map(({ token }) => token)).toEqual(stopped.tokens);
    expect(own.map(({ finishReason }) => finishReason).filter(Boolean)).toEqual(['stop']);
  });

  it('reports progress by finished request', async () => {
    const seen: number[] = [];
    await generate(model, requests, { onProgress: ({ completed, total }) => seen.push(completed, total!) });
    expect(seen).toEqual([1, 3, 2, 3, 3, 3]);
  });

  it('stops when its signal fires, and frees the cache', async () => {
    const controller = new AbortController();
    const before = tf.memory().numTensors;
    const running = generate(model, requests, { signal: controller.signal, onEvent: () => controller.abort() });
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses stop strings it cannot look for, and frees the cache', async () => {
    const before = tf.memory().numTensors;
    const refused = async (stopStrings: string[], options = {}): Promise<string> => {
      const error: unknown = await generate(model, [{ ...requests[0], stopStrings }], options).catch((e: unknown) => e);
      return ModelError.isInstance(error) ? error.message : String(error);
    };
    expect(await refused(['x'])).toMatch(/without a decode callback/);
    expect(await refused([''], { decode })).toMatch(/not empty/);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('an empty list is an empty list', async () => {
    expect(await generate(model, [])).toEqual([]);
  });
});
