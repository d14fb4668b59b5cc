import * as tf from '@tensorflow/tfjs-core';
import { nativeVariants, setNativeVariant } from '@xgen-small/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CausalLanguageModel,
  GenerationEngine,
  ModelError,
  packDocuments,
  type GenerationEvent,
  type GenerationRequest,
} from '../src/index.js';
import { presentBackends, useBackend } from './support/backends.js';
import { smallConfig } from './support/configs.js';
import { logSoftmax } from './support/reference-decoder.js';

const engineOptions = { maximumBatchTokens: 64, cacheTokens: 1024, blockSize: 4 };
const prompts = [
  [5, 17, 3],
  [1],
  [9, 9, 9, 9, 9, 9, 9, 9, 9],
  [44, 2, 60, 31, 7, 7, 12],
  [58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42],
];

/** Runs an engine until it is empty; events of each request in order. */
function drain(engine: GenerationEngine, onStep?: (step: number) => void): Map<string, GenerationEvent[]> {
  const events = new Map<string, GenerationEvent[]>();
  for (let step = 0; engine.active + engine.waiting > 0; step++) {
    onStep?.(step);
    for (const event of engine.step()) events.set(event.id, [...(events.get(event.id) ?? []), event]);
    if (step > 10_000) throw new Error('the engine does not finish');
  }
  return events;
}

function run(model: CausalLanguageModel, requests: GenerationRequest[], options = {}): number[][] {
  const engine = new GenerationEngine(model, { ...engineOptions, ...options });
  try {
    const ids = requests.map((request) => engine.add(request));
    const events = drain(engine);
    return ids.map((id) => events.get(id)!.map(({ token }) => token));
  } finally {
    engine.dispose();
  }
}

/** Greedy continuation by full forward passes over everything so far. */
function greedy(model: CausalLanguageModel, prompt: readonly number[], count: number): number[] {
  const tokens = [...prompt];
  for (let i = 0; i < count; i++) {
    const logits = tf.tidy(() => {
      const hidden = model.hiddenStates(packDocuments([tokens]));
      return model.logits(hidden, Int32Array.of(tokens.length - 1)).dataSync();
    });
    tokens.push(logits.indexOf(Math.max(...logits)));
  }
  return tokens.slice(prompt.length);
}

describe.each(await presentBackends())('generation on %s', (backend) => {
  let model: CausalLanguageModel;
  let tensorsBefore: number;

  beforeAll(async () => {
    await useBackend(backend);
    tensorsBefore = tf.memory().numTensors;
    model = CausalLanguageModel.initialize(smallConfig(), { seed: 11, standardDeviation: 0.3 });
  });
  afterAll(() => {
    model.dispose();
    expect(tf.memory().numTensors).toBe(tensorsBefore);
  });

  const greedyRequests = prompts.map((promptTokens) => ({ promptTokens, maximumNewTokens: 12 }));

  it('greedy tokens are the argmax of full forward passes', () => {
    const expected = prompts.map((prompt) => greedy(model, prompt, 12));
    expect(run(model, greedyRequests)).toEqual(expected);
    // Distinct continuations: the comparison means something.
    expect(new Set(expected.map(String)).size).toBe(prompts.length);
  });

  it('a batch gives what each request gives alone, greedy or sampled', () => {
    const requests = prompts.map((promptTokens, i) => ({
      promptTokens,
      maximumNewTokens: 10,
      temperature: i % 2 === 0 ? 1 : 0.7,
      topK: i === 1 ? 5 : 0,
      topP: i === 2 ? 0.8 : 1,
      minP: i === 3 ? 0.05 : 0,
      seed: 100 + i,
    }));
    const alone = requests.map((request) => run(model, [request])[0]);
    expect(run(model, requests)).toEqual(alone);
    expect(run(model, [...requests].reverse())).toEqual([...alone].reverse());
  });

  it('chunked prompts give what whole ones give', () => {
    const whole = run(model, greedyRequests);
    for (const maximumBatchTokens of [1, 2, 3, 7]) {
      expect(run(model, greedyRequests, { maximumBatchTokens })).toEqual(whole);
    }
  });

  if (backend === 'native') {
    it('is bit-identical however requests are batched, chunked, put back or cached', () => {
      const shared = Array.from({ length: 9 }, (_, i) => (i * 7) % 61);
      const requests = prompts.map((prompt, i) => ({
        promptTokens: [...shared, ...prompt],
        maximumNewTokens: 12,
        temperature: 1,
        seed: i,
      }));
      const events = (list: GenerationRequest[], options: object): GenerationEvent[][] => {
        const engine = new GenerationEngine(model, { ...engineOptions, ...options });
        const ids = list.map((request) => engine.add(request));
        const all = drain(engine);
        engine.dispose();
        return ids.map((id) => all.get(id)!.map((event) => ({ ...event, id: '' })));
      };
      for (const variant of nativeVariants()) {
        setNativeVariant(variant);
        const alone = requests.flatMap((request) => events([request], {}));
        for (const options of [
          {},
          { maximumBatchTokens: 11 },
          { cacheTokens: 40 },
          { prefixCache: true, cacheTokens: 80 },
        ]) {
          // Equal log-probabilities, not only equal tokens.
          expect(events(requests, options)).toEqual(alone);
        }
      }
      setNativeVariant(nativeVariants()[0]);
    });
  }

  it('reports the log-probabilities that training computes for the same tokens', () => {
    const engine = new GenerationEngine(model, engineOptions);
    const ids = prompts.map((promptTokens, seed) =>
      engine.add({ promptTokens, maximumNewTokens: 20, temperature: 1, seed }),
    );
    const events = drain(engine);
    engine.dispose();
    const documents = ids.map((id, i) => [...prompts[i], ...events.get(id)!.map(({ token }) => token)]);
    const targets = documents.flatMap((tokens, i) =>
      tokens.map((_, t) => (t + 1 < prompts[i].length || t + 1 === tokens.length ? -100 : tokens[t + 1])),
    );
    const trained = tf
      .tidy(() => model.logProbabilities(packDocuments(documents), Int32Array.from(targets)).dataSync())
      .filter((_, t) => targets[t] !== -100);
    const generated = ids.flatMap((id) => events.get(id)!.map(({ logProbability }) => logProbability));
    expect(generated).toHaveLength(trained.length);
    generated.forEach((value, i) => expect(Math.abs(value - trained[i])).toBeLessThan(1e-5 * (1 + Math.abs(value))));
  });

  it('a cache too small for all puts sequences back and loses nothing', () => {
    const requests = greedyRequests.map((request, i) => ({ ...request, id: `r${i}`, temperature: 0.8, seed: i }));
    const plenty = run(model, requests);
    const engine = new GenerationEngine(model, { ...engineOptions, cacheTokens: 32 });
    for (const request of requests) engine.add(request);
    const events = drain(engine);
    expect(requests.map(({ id }) => events.get(id)!.map(({ token }) => token))).toEqual(plenty);
    const stats = engine.stats();
    expect(stats.preemptions).toBeGreaterThan(0);
    expect(stats).toMatchObject({ active: 0, waiting: 0, freeBlocks: 8, totalBlocks: 8, finishedRequests: 5 });
    engine.dispose();
  });

  it('requests that join while others decode change nothing', () => {
    const expected = run(model, greedyRequests);
    const engine = new GenerationEngine(model, engineOptions);
    const rest = greedyRequests.map((request, i) => ({ ...request, id: String(i) }));
    engine.add(rest.shift()!);
    const events = drain(engine, (step) => {
      if (step % 3 === 2 && rest.length > 0) engine.add(rest.shift()!);
    });
    expect(expected.map((_, i) => events.get(String(i))?.map(({ token }) => token))).toEqual(expected);
    engine.dispose();
  });

  it('reports log-probabilities of the unfiltered distribution and the best alternatives', () => {
    const engine = new GenerationEngine(model, engineOptions);
    const promptTokens = prompts[3];
    const id = engine.add({
      promptTokens,
      maximumNewTokens: 6,
      temperature: 1.3,
      topK: 4,
      seed: 3,
      topLogProbabilities: 5,
    });
    const events = drain(engine).get(id)!;
    engine.dispose();
    const tokens = [...promptTokens, ...events.map(({ token }) => token)];
    const rows = tf.tidy(() => model.logits(model.hiddenStates(packDocuments([tokens]))).arraySync());
    events.forEach((event, i) => {
      const expected = logSoftmax(rows[promptTokens.length - 1 + i]);
      expect(event.logProbability).toBeCloseTo(expected[event.token], 4);
      const best = expected.map((p, token) => ({ p, token })).sort((a, b) => b.p - a.p);
      expect(event.topLogProbabilities!.map(({ token }) => token)).toEqual(best.slice(0, 5).map(({ token }) => token));
      event.topLogProbabilities!.forEach(({ logProbability }, k) => expect(logProbability).toBeCloseTo(best[k].p, 4));
    });
  });

  it('sampling follows the distribution', () => {
    const promptTokens = [30, 31];
    const logits = tf.tidy(() =>
      Array.from(model.logits(model.hiddenStates(packDocuments([promptTokens])), Int32Array.of(1)).dataSync()),
    );
    const expected = logSoftmax(logits).map(Math.exp);
    const draws = 1500;
    const requests = Array.from({ length: draws }, (_, seed) => ({
      promptTokens,
      maximumNewTokens: 1,
      temperature: 1,
      seed,
    }));
    const counts = new Float64Array(expected.length);
    for (const [token] of run(model, requests, { cacheTokens: 1024, maximumBatchTokens: 512 })) counts[token]++;
    let chiSquared = 0;
    let degrees = -1;
    expected.forEach((p, token) => {
      if (p * draws < 5) return;
      chiSquared += (counts[token] - p * draws) ** 2 / (p * draws);
      degrees++;
    });
    // Mean `degrees`, variance 2·degrees; five standard deviations.
    expect(degrees).toBeGreaterThan(5);
    expect(chiSquared).toBeLessThan(degrees + 5 * Math.sqrt(2 * degrees));
  });

  it('stops at stop tokens, which it reports', () => {
    const [free] = run(model, [greedyRequests[3]]);
    const stopTokens = [free[4]];
    const end = free.indexOf(free[4]) + 1;
    expect(run(model, [{ ...greedyRequests[3], stopTokens }])).toEqual([free.slice(0, end)]);
    const engine = new GenerationEngine(model, engineOptions);
    engine.add({ ...greedyRequests[3], stopTokens });
    const events = [...drain(engine).values()][0];
    expect(events.map(({ finishReason }) => finishReason).filter(Boolean)).toEqual(['stop']);
    engine.dispose();
  });

  it('the configuration’s end token stops by default, an empty list never', () => {
    const [free] = run(model, [greedyRequests[0]]);
    const ended = CausalLanguageModel.initialize(smallConfig({ eosTokenId: [free[2], free[3]] }), {
      seed: 11,
      standardDeviation: 0.3,
    });
    const first = free.findIndex((token) => token === free[2] || token === free[3]);
    expect(run(ended, [greedyRequests[0]])).toEqual([free.slice(0, first + 1)]);
    expect(run(ended, [{ ...greedyRequests[0], stopTokens: [] }])).toEqual([free]);
    ended.dispose();
  });

  it('cancelling frees the place at once and is confirmed', () => {
    const engine = new GenerationEngine(model, engineOptions);
    const running = engine.add({ promptTokens: prompts[4], maximumNewTokens: 30 });
    const queued = engine.add({ promptTokens: prompts[0], maximumNewTokens: 3 });
    engine.step();
    engine.cancel(running);
    engine.cancel('unknown');
    expect(engine.stats().freeBlocks).toBe(engine.stats().totalBlocks - 1);
    const [first, ...others] = engine.step();
    expect(first).toMatchObject({ id: running, token: -1, finishReason: 'cancelled' });
    expect(others.map(({ id }) => id)).toEqual([queued]);
    drain(engine);
    expect(engine.stats()).toMatchObject({ cancelledRequests: 1, finishedRequests: 1, active: 0 });
    expect(engine.stats().freeBlocks).toBe(engine.stats().totalBlocks);
    engine.dispose();
  });

  it('a warm prefix cache gives the tokens of a cold one and computes less', () => {
    const shared = Array.from({ length: 21 }, (_, i) => (i * 7) % 61);
    const requests = [1, 2, 3].map((last) => ({ promptTokens: [...shared, last], maximumNewTokens: 8 }));
    const cold = requests.map((request) => run(model, [request])[0]);
    const engine = new GenerationEngine(model, { ...engineOptions, prefixCache: true });
    const warm = requests.map((request) => {
      const id = engine.add(request);
      return drain(engine)
        .get(id)!
        .map(({ token }) => token);
    });
    expect(warm).toEqual(cold);
    expect(engine.stats()).toMatchObject({ cachedPromptTokens: 40, promptTokens: 22 * 3 - 40 });
    engine.clearPrefixCache();
    engine.add(requests[0]);
    drain(engine);
    expect(engine.stats().cachedPromptTokens).toBe(40);
    engine.dispose();
  });

  it('memory is flat from step to step, once every size of batch was recorded where the backend records', () => {
    const count = (): [number, number] => [tf.memory().numTensors, tf.memory().numBytes];
    const beforeEngine = count();
    const engine = new GenerationEngine(model, { ...engineOptions, prefixCache: true });
    const steps = (round: number, onStep?: () => void): void => {
      for (const request of greedyRequests) {
        engine.add({ ...request, temperature: 1, topLogProbabilities: round === 1 ? 3 : 0 });
      }
      while (engine.active + engine.waiting > 0) {
        engine.step();
        onStep?.();
      }
    };
    steps(0);
    const before = count();
    for (let round = 0; round < 3; round++) steps(round, () => expect(count()).toEqual(before));
    engine.dispose();
    expect(count()).toEqual(beforeEngine);
  });

  it.each<[string, Partial<GenerationRequest>, string]>([
    ['an empty prompt', { promptTokens: [] }, 'INVALID_ARGUMENT'],
    ['a token outside the vocabulary', { promptTokens: [61] }, 'INVALID_ARGUMENT'],
    ['a fraction of a token', { promptTokens: [0.5] }, 'INVALID_ARGUMENT'],
    ['no new tokens', { maximumNewTokens: 0 }, 'INVALID_ARGUMENT'],
    ['more than the context', { maximumNewTokens: 64 }, 'REQUEST_TOO_LONG'],
    ['a negative temperature', { temperature: -1 }, 'INVALID_ARGUMENT'],
    ['a temperature that is not a number', { temperature: NaN }, 'INVALID_ARGUMENT'],
    ['topP 0', { topP: 0 }, 'INVALID_ARGUMENT'],
    ['a fractional topK', { topK: 1.5 }, 'INVALID_ARGUMENT'],
    ['minP above 1', { minP: 1.1 }, 'INVALID_ARGUMENT'],
    ['too many alternatives', { topLogProbabilities: 21 }, 'INVALID_ARGUMENT'],
    ['a stop token outside the vocabulary', { stopTokens: [99] }, 'INVALID_ARGUMENT'],
    ['a negative seed', { seed: -1 }, 'INVALID_ARGUMENT'],
    ['an id in use', { id: 'taken' }, 'DUPLICATE_REQUEST'],
  ])('refuses %s', (_, request, code) => {
    const engine = new GenerationEngine(model, engineOptions);
    engine.add({ id: 'taken', promptTokens: [1], maximumNewTokens: 1 });
    try {
      engine.add({ promptTokens: [1, 2], maximumNewTokens: 4, ...request });
      expect.unreachable();
    } catch (error) {
      expect(ModelError.isInstance(error) && error.code).toBe(code);
    } finally {
      engine.dispose();
    }
  });

  it('refuses what the cache can never hold', () => {
    const engine = new GenerationEngine(model, { ...engineOptions, cacheTokens: 16 });
    expect(() => engine.add({ promptTokens: [1, 2, 3], maximumNewTokens: 14 })).toThrow(/cache of 16/);
    engine.add({ promptTokens: [1, 2, 3], maximumNewTokens: 13 });
    expect([...drain(engine).values()][0]).toHaveLength(13);
    engine.dispose();
    expect(() => engine.step()).toThrow(/disposed/);
  });
});
