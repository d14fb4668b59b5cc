/** Decoding by recorded graphs gives what it gives without: on the emulated CUDA device. */
import * as tf from '@tensorflow/tfjs-core';
import { adamW, capture, deviceMemory, initializeBackend, setMatmulPrecision } from '@xgen-small/kernels';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { CapturedDecoding } from '../src/generation/captured-decoding.js';
import { PagedCache } from '../src/generation/paged-cache.js';
import { createSequence, type Sequence } from '../src/generation/sequence.js';
import {
  CausalLanguageModel,
  generate,
  GenerationEngine,
  type GenerationEngineOptions,
  type GenerationEngineStats,
  type GenerationEvent,
  type GenerationRequest,
} from '../src/index.js';
import { smallConfig } from './support/configs.js';
import { missing } from './support/emulated-kernels.js';

vi.mock('@xgen-small/kernels', async () => {
  const { kernels } = await import('./support/emulated-kernels.js');
  return { ...kernels, capture: vi.fn(kernels.capture) };
});

if (missing !== undefined) console.warn(`Skipped: ${missing}.`);

const captures = vi.mocked(capture);
const plainCapture = captures.getMockImplementation()!;
const options = { maximumBatchTokens: 64, cacheTokens: 1024, blockSize: 4 };
const config = smallConfig({ maximumPositions: 160 });

/** Greedy, sampled and filtered requests of several lengths. */
const requests: GenerationRequest[] = [
  { promptTokens: [5, 17, 3], maximumNewTokens: 9 },
  { promptTokens: [1], maximumNewTokens: 14, temperature: 1, seed: 7 },
  { promptTokens: [9, 9, 9, 9, 9, 9, 9], maximumNewTokens: 5, temperature: 0.7, topK: 5, seed: 8 },
  { promptTokens: [44, 2, 60, 31, 7, 7, 12], maximumNewTokens: 12, temperature: 1.2, topP: 0.8, seed: 9 },
  { promptTokens: [58, 57, 56, 55, 54], maximumNewTokens: 7, temperature: 1, minP: 0.05, seed: 10 },
].map((request, i) => ({ ...request, id: `r${i}`, stopTokens: [] }));

interface Run {
  events: Map<string, GenerationEvent[]>;
  stats: GenerationEngineStats;
}

function drain(engine: GenerationEngine, onStep?: (step: number) => void): Map<string, GenerationEvent[]> {
  const events = new Map<string, GenerationEvent[]>();
  for (let step = 0; engine.active + engine.waiting > 0; step++) {
    onStep?.(step);
    for (const event of engine.step()) events.set(event.id, [...(events.get(event.id) ?? []), event]);
  }
  return events;
}

const tokensOf = (events: Run['events']): Record<string, number[]> =>
  Object.fromEntries([...events].map(([id, list]) => [id, list.map(({ token }) => token)]));

/** The same tokens and reasons, and probabilities up to rounding: a padded batch shares out its sums otherwise. */
function expectSame(actual: Run['events'], expected: Run['events'], tolerance = 1e-5): void {
  expect(tokensOf(actual)).toEqual(tokensOf(expected));
  const near = (a: number, b: number): void => expect(Math.abs(a - b)).toBeLessThan(tolerance * (1 + Math.abs(b)));
  for (const [id, list] of expected) {
    actual.get(id)!.forEach((event, i) => {
      expect(event.finishReason).toBe(list[i].finishReason);
      near(event.logProbability, list[i].logProbability);
      const [ours, theirs] = [event, list[i]].map(({ topLogProbabilities }) => topLogProbabilities ?? []);
      expect(ours.map(({ token }) => token)).toEqual(theirs.map(({ token }) => token));
      ours.forEach(({ logProbability }, k) => near(logProbability, theirs[k].logProbability));
    });
  }
}

describe.skipIf(missing !== undefined)('captured decoding', () => {
  let model: CausalLanguageModel;
  let before: { tensors: number; bytes: number };
  const memory = (): typeof before => ({ tensors: tf.memory().numTensors, bytes: deviceMemory()!.liveBytes });

  beforeAll(async () => {
    const { name, warnings } = await initializeBackend({ preferred: 'cuda' });
    expect([name, warnings]).toEqual(['cuda', []]);
    model = CausalLanguageModel.initialize(config, { seed: 11, standardDeviation: 0.3 });
    run([{ promptTokens: [1], maximumNewTokens: 2 }], { captureDecoding: false });
  });
  beforeEach(() => {
    captures.mockClear();
    before = memory();
  });
  afterEach(() => {
    // Every engine gave everything back, tensors and device memory.
    expect(memory()).toEqual(before);
  });
  afterAll(() => {
    model.dispose();
    expect(tf.memory().numTensors).toBe(0);
  });

  function run(
    list: GenerationRequest[],
    more: Partial<GenerationEngineOptions> = {},
    onStep?: Parameters<typeof drain>[1],
  ): Run {
    const engine = new GenerationEngine(model, { ...options, ...more });
    try {
      for (const request of list) engine.add(request);
      const events = drain(engine, onStep);
      return { events, stats: engine.stats() };
    } finally {
      engine.dispose();
    }
  }

  const plain = (list: GenerationRequest[], more: Partial<GenerationEngineOptions> = {}): Run => {
    const result = run(list, { ...more, captureDecoding: false });
    expect(result.stats.capturedSteps).toBe(0);
    return result;
  };

  it('gives the same for requests of all settings that finish at different times', () => {
    const { events, stats } = run(requests);
    expectSame(events, plain(requests).events);
    // 5 rows, then 4, 3, 2, 1: classes 8, 4, 2, 1, each uncaptured once.
    expect(captures).toHaveBeenCalledTimes(4);
    expect(stats).toMatchObject({ steps: 14, capturedSteps: 14 - 1 - 4 });
    expect(new Set(Object.values(tokensOf(events)).map(String)).size).toBe(5);
  });

  it('gives the same in bfloat16', () => {
    setMatmulPrecision('bfloat16');
    try {
      const greedy = requests.map((request) => ({ ...request, temperature: 0 }));
      const { events, stats } = run(greedy);
      expectSame(events, plain(greedy).events, 1e-2);
      expect(stats.capturedSteps).toBe(9);
    } finally {
      setMatmulPrecision('float32');
    }
    // The bfloat16 copies of the weights stay, as long as the model does.
    before = memory();
  });

  it('gives the same where requests join later', () => {
    const joining = (captureDecoding: boolean): Run => {
      const engine = new GenerationEngine(model, { ...options, captureDecoding });
      const rest = [...requests];
      engine.add(rest.shift()!);
      const events = drain(engine, (step) => {
        if (step % 3 === 2 && rest.length > 0) engine.add(rest.shift()!);
      });
      const stats = engine.stats();
      engine.dispose();
      return { events, stats };
    };
    const [captured, uncaptured] = [joining(true), joining(false)];
    expectSame(captured.events, uncaptured.events);
    expect(captured.stats).toEqual({ ...uncaptured.stats, capturedSteps: captured.stats.capturedSteps });
    expect(captured.stats.capturedSteps).toBeGreaterThan(5);
  });

  it('gives the same while sequences outgrow their blocks and the tables their width', () => {
    // Blocks of 4: tables of 8, 16, 32 and 40 columns, the last for all of the model's 160 positions.
    const long = [
      { ...requests[1], maximumNewTokens: 159 },
      { ...requests[0], maximumNewTokens: 70 },
    ];
    const { events, stats } = run(long);
    expectSame(events, plain(long).events);
    expect(events.get('r1')).toHaveLength(159);
    expect(captures.mock.calls.map(([, examples]) => examples.find(({ rank }) => rank === 2)!.shape)).toEqual([
      [2, 8],
      [2, 16],
      [2, 32],
      [1, 32],
      [1, 40],
    ]);
    expect(stats.capturedSteps).toBe(stats.steps - 1 - 5);
  });

  it('gives the same where the cache runs full and sequences are put back', () => {
    const crowded = [...requests, ...requests.map((request) => ({ ...request, id: `${request.id}b`, seed: 77 }))];
    const [captured, uncaptured] = [run(crowded, { cacheTokens: 40 }), plain(crowded, { cacheTokens: 40 })];
    expectSame(captured.events, uncaptured.events);
    expectSame(captured.events, plain(crowded).events);
    expect(captured.stats).toEqual({ ...uncaptured.stats, capturedSteps: captured.stats.capturedSteps });
    expect(captured.stats.preemptions).toBeGreaterThan(0);
    expect(captured.stats.capturedSteps).toBeGreaterThan(3);
  });

  it('gives the same with a warm prefix cache and when a request is cancelled', () => {
    const shared = Array.from({ length: 13 }, (_, i) => (i * 7) % 61);
    const list = requests.map((request) => ({
      ...request,
      promptTokens: [...shared, ...Array.from(request.promptTokens)],
    }));
    const both = (captureDecoding: boolean): Run[] => {
      const engine = new GenerationEngine(model, { ...options, prefixCache: true, captureDecoding });
      const runs = [0, 1].map(() => {
        for (const request of list) engine.add(request);
        return { events: drain(engine, (step) => step === 4 && engine.cancel('r1')), stats: engine.stats() };
      });
      engine.dispose();
      return runs;
    };
    const [captured, uncaptured] = [both(true), both(false)];
    captured.forEach(({ events }, i) => expectSame(events, uncaptured[i].events));
    expect(captured[1].stats).toMatchObject({ cancelledRequests: 2 });
    expect(captured[1].stats.cachedPromptTokens).toBeGreaterThan(60);
  });

  it('reports the same alternatives', () => {
    const list = requests.map((request, i) => ({ ...request, topLogProbabilities: i }));
    const { events, stats } = run(list);
    expectSame(events, plain(list).events);
    expect(events.get('r4')![5].topLogProbabilities).toHaveLength(4);
    expect(stats.capturedSteps).toBe(9);
  });

  it('gives the same for two engines at once, of one model or two', () => {
    const expected = plain(requests).events;
    const other = CausalLanguageModel.initialize(config, { seed: 12, standardDeviation: 0.3 });
    const engines = [model, model, other].map((one) => new GenerationEngine(one, options));
    const events = engines.map((): Run['events'] => new Map());
    for (const engine of engines) for (const request of requests) engine.add(request);
    while (engines.some(({ active, waiting }) => active + waiting > 0)) {
      engines.forEach((engine, i) => {
        for (const event of engine.step()) events[i].set(event.id, [...(events[i].get(event.id) ?? []), event]);
      });
      // The first is gone while the others' graphs live on.
      if (engines[0].active === 0) engines[0].dispose();
      if (engines[0].active === 0) break;
    }
    expectSame(events[0], expected);
    for (const [i, engine] of engines.entries()) {
      if (i > 0) expect(engine.stats().capturedSteps).toBe(9);
      engine.dispose();
    }
    expectSame(events[1], expected);
    expect(tokensOf(events[2])).not.toEqual(tokensOf(expected));
    other.dispose();
  });

  it('serves generate, which passes the option on', async () => {
    const captured = await generate(model, requests);
    const recorded = captures.mock.calls.length;
    expect(recorded).toBeGreaterThan(0);
    const uncaptured = await generate(model, requests, { captureDecoding: false });
    expect(captures).toHaveBeenCalledTimes(recorded);
    expect(captured.map(({ tokens }) => tokens)).toEqual(uncaptured.map(({ tokens }) => tokens));
  });

  it('keeps its graphs where each step runs in a tidy of the caller’s', () => {
    const engine = new GenerationEngine(model, options);
    for (const request of requests) engine.add(request);
    const events: Run['events'] = new Map();
    while (engine.active + engine.waiting > 0) {
      tf.tidy(() => {
        for (const event of engine.step()) events.set(event.id, [...(events.get(event.id) ?? []), event]);
      });
    }
    expectSame(events, plain(requests).events);
    expect(engine.stats().capturedSteps).toBe(9);
    engine.dispose();
  });

  it('goes on with its graphs when weights change in place, and records anew when they are replaced', () => {
    const copy = model.clone();
    const request = { promptTokens: [3, 1, 4], maximumNewTokens: 6, stopTokens: [] };
    const engine = new GenerationEngine(copy, options);
    const tokens = (of: GenerationEngine): number[] => {
      const id = of.add(request);
      return drain(of)
        .get(id)!
        .map(({ token }) => token);
    };
    const fresh = (): number[] => {
      const uncaptured = new GenerationEngine(copy, { ...options, captureDecoding: false });
      const result = tokens(uncaptured);
      uncaptured.dispose();
      return result;
    };
    const first = fresh();
    expect(tokens(engine)).toEqual(first);
    expect(captures).toHaveBeenCalledTimes(1);

    const parameters = [...copy.parameters.values()];
    const [firstMoments, secondMoments] = [0, 1].map(() =>
      parameters.map(({ shape }) => tf.tidy(() => tf.variable(tf.zeros(shape), false))),
    );
    tf.tidy(() => {
      const gradients = parameters.map(({ shape }, i) => tf.randomNormal(shape, 0, 1, 'float32', i));
      adamW({ parameters, firstMoments, secondMoments }, gradients, { learningRate: 0.2, step: 1 });
    });
    const second = fresh();
    expect(second).not.toEqual(first);
    expect(tokens(engine)).toEqual(second);
    expect(captures).toHaveBeenCalledTimes(1);

    const variable = copy.parameters.get('model.layers.0.mlp.down_proj.weight')!;
    // The old values live on elsewhere: that they are still there says nothing.
    const old = variable.clone();
    tf.tidy(() => variable.assign(tf.randomNormal(variable.shape, 0, 1, 'float32', 5)));
    const third = fresh();
    expect(third).not.toEqual(second);
    expect(tokens(engine)).toEqual(third);
    expect(captures).toHaveBeenCalledTimes(2);
    engine.dispose();
    copy.dispose();
    tf.dispose([old, ...firstMoments, ...secondMoments]);
  });

  it('records anew in another precision', () => {
    const engine = new GenerationEngine(model, options);
    engine.add({ ...requests[0], maximumNewTokens: 20 });
    const events = drain(engine, (step) => {
      if (step === 8) setMatmulPrecision('tensorfloat32');
    });
    setMatmulPrecision('float32');
    expect(captures).toHaveBeenCalledTimes(2);
    expect(events.get('r0')).toHaveLength(20);
    engine.dispose();
  });

  it('falls back with one warning where recording fails, and nothing is lost', () => {
    const expected = plain(requests).events;
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    // It fails after it has run: keys and values were appended already.
    captures.mockImplementation((f, examples) => {
      tf.tidy(() => {
        f(...examples);
      });
      throw new Error('no graphs today');
    });
    try {
      for (let engine = 0; engine < 2; engine++) {
        const { events, stats } = run(requests);
        expectSame(events, expected);
        expect(stats.capturedSteps).toBe(0);
        expect(captures).toHaveBeenCalledTimes(engine + 1);
      }
      expect(warning).toHaveBeenCalledTimes(1);
      expect(warning.mock.calls[0][0]).toMatch(/no graphs today/);
    } finally {
      captures.mockImplementation(plainCapture);
      warning.mockRestore();
    }
  });

  it('falls back where a graph fails to record for real, in the middle', () => {
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    captures.mockImplementation((f, examples) => {
      let calls = 0;
      return plainCapture((...inputs) => {
        const outputs = f(...inputs);
        // The second time it is recorded, and reads.
        if (++calls === 2) outputs[0].dataSync();
        return outputs;
      }, examples);
    });
    try {
      expectSame(run(requests).events, plain(requests).events);
      expect(warning.mock.calls.map(([message]) => String(message))).toEqual([expect.stringMatching(/cannot be read/)]);
    } finally {
      captures.mockImplementation(plainCapture);
      warning.mockRestore();
    }
  });

  it('keeps so many graphs and no more, the most recently used ones', () => {
    const cache = new PagedCache(config, 64, options.blockSize);
    const decoding = new CapturedDecoding(model, cache, { maximumWidth: 40, maximumLogits: 61 * 8, maximumGraphs: 2 });
    const batch = (count: number): Sequence[] =>
      Array.from({ length: count }, (_, i) => {
        const limits = { config, cacheTokens: 256 };
        const sequence = createSequence({ promptTokens: [i], maximumNewTokens: 2 }, String(i), () => 0, limits);
        sequence.blocks = [i];
        return sequence;
      });
    // 9 rows are 16, whose logits are too many.
    expect([0, 1, 2].map(() => decoding.run(batch(9)))).toEqual([undefined, undefined, undefined]);
    const recorded = (count: number): number => {
      captures.mockClear();
      const sampled = decoding.run(batch(count));
      expect(sampled?.ids.shape ?? [0]).toEqual([sampled === undefined ? 0 : 2 ** Math.ceil(Math.log2(count))]);
      return captures.mock.calls.length;
    };
    expect([1, 2, 4, 1, 2].map(recorded)).toEqual([0, 0, 0, 1, 1]);
    expect([1, 2].map(recorded)).toEqual([0, 0]);
    const { tensors } = memory();
    expect(recorded(3)).toBe(1);
    // 1 went, being the least recently used.
    expect(memory().tensors).toBe(tensors);
    expect([2, 4, 1].map(recorded)).toEqual([0, 0, 1]);
    decoding.dispose();
    cache.dispose();
  });
});
