/** Captured functions: a graph on the (emulated) device, a plain call elsewhere; the same contract. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { activate, cpuAdapter } from '../backends/tfjs-adapters';
import { KernelsError } from '../kernels-error';
import { adamW } from '../ops/adam-w';
import { embedding } from '../ops/embedding';
import { increment } from '../ops/increment';
import { linear } from '../ops/linear';
import { pagedAttention } from '../ops/paged-attention';
import { createPagedCache, pagedCacheAppend } from '../ops/paged-cache';
import { rmsNorm } from '../ops/rms-norm';
import { sampleTokens } from '../ops/sample-tokens';
import { swiglu } from '../ops/swiglu';
import { valueAndGradients } from '../tape/value-and-gradients';
import { canRecord, capture } from './capture';
import { bfloat16, float32 } from './physical-type';
import { activeCudaBackend, deviceMemory, readTogether, setMatmulPrecision } from './settings';
import { missing, useEmulatedDevice } from './test-support';

const ramp = (count: number, shift = 0): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.7 + shift));

function optimizerState(): Record<'parameters' | 'firstMoments' | 'secondMoments', tf.Variable[]> {
  const [parameter, first, second] = [0, 1, 2].map(() => tf.tidy(() => tf.variable(tf.zeros([100]))));
  return { parameters: [parameter], firstMoments: [first], secondMoments: [second] };
}

function codeOf(f: () => unknown): string | undefined {
  try {
    f();
  } catch (error) {
    return KernelsError.isInstance(error) ? error.code : String(error);
  }
  return undefined;
}

const backends = [
  { name: 'cpu', start: () => cpuAdapter.register().then(() => activate('cpu')) },
  ...(missing === undefined
    ? [{ name: 'cuda (emulated)', start: () => useEmulatedDevice().then(() => undefined) }]
    : []),
];

describe.each(backends)('on $name', ({ start }) => {
  beforeEach(start);

  test('a function gives the same for new inputs, time and again', () => {
    const table = tf.tensor2d(ramp(50 * 16), [50, 16]);
    const weight = tf.tensor2d(ramp(24 * 16), [24, 16]);
    const norm = tf.ones([16]);
    const f = (ids: tf.Tensor, shift: tf.Tensor): tf.Tensor[] => {
      const x = tf.add(embedding(table, ids), shift);
      const y = swiglu(linear(rmsNorm(x, norm, { epsilon: 1e-5 }), weight));
      return [y, tf.sum(y, 1)];
    };
    const inputs = (round: number): [tf.Tensor, tf.Tensor] => [
      tf.tensor1d([round, (round * 7) % 50, 3], 'int32'),
      tf.tensor2d(ramp(16, round), [1, 16]),
    ];
    const example = inputs(0);
    const before = tf.memory().numTensors;
    const captured = capture(f, example);
    for (let round = 1; round < 6; round++) {
      const next = inputs(round);
      const expected = tf.tidy(() => f(...next).map((tensor) => [...tensor.dataSync()]));
      const outputs = captured.run(...next);
      expect(outputs.map((tensor) => [...tensor.dataSync()])).toEqual(expected);
      // What happens in between reuses no memory of the function's.
      tf.dispose(tf.tidy(() => tf.square(tf.ones([3, 16]))));
      expect(outputs.map((tensor) => [...tensor.dataSync()])).toEqual(expected);
      for (const tensor of next) tensor.dispose();
    }
    captured.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test('training steps with the learning rate and the step as inputs are those of numbers', () => {
    const target = tf.tensor1d(ramp(100, 3));
    const [plain, captured] = [optimizerState(), optimizerState()];
    const update = (state: typeof plain, learningRate: number | tf.Scalar, step: number | tf.Scalar): tf.Scalar => {
      const [parameter] = state.parameters;
      const { value, gradients } = valueAndGradients(
        () => tf.mean<tf.Scalar>(tf.square(tf.sub(parameter, target))),
        [parameter],
      );
      adamW(state, [gradients.get(parameter.name)!], { learningRate, step, weightDecay: 0.1 });
      return value;
    };
    const rate = (step: number): number => 0.1 / step;
    const inputs = (step: number): [tf.Scalar, tf.Scalar] => [tf.scalar(rate(step)), tf.scalar(step, 'int32')];
    const run = capture(
      (r, s) => [update(captured, r as tf.Scalar, s as tf.Scalar)],
      [tf.scalar(0), tf.scalar(1, 'int32')],
    );
    // Where it is recorded, the function ran once for real: with a rate of 0, which only the moments feel.
    if (activeCudaBackend() !== undefined) tf.tidy(() => update(plain, 0, 1));
    for (let step = 1; step <= 4; step++) {
      const expected = tf.tidy(() => update(plain, rate(step), step).dataSync()[0]);
      expect(run.run(...inputs(step))[0].dataSync()[0]).toBeCloseTo(expected, 6);
    }
    const [expected, actual] = [plain, captured].map((state) => state.parameters[0].dataSync());
    actual.forEach((value, i) => expect(value).toBeCloseTo(expected[i], 6));
    run.dispose();
  });

  test('decoding while the contexts grow gives the tokens of plain calls', () => {
    const [batch, width, vocabulary, room] = [2, 32, 40, 9];
    const shape = { queryHeads: 4, keyValueHeads: 2, headDimension: 8, blockSize: 16 };
    const table = tf.tensor2d(ramp(vocabulary * width), [vocabulary, width]);
    const projection = tf.tensor2d(ramp(64 * width, 1), [64, width]);
    const integers = (...values: number[]): tf.Tensor1D => tf.tensor1d(values, 'int32');
    const numbers = (value: number): tf.Tensor1D => tf.fill([batch], value);
    const cumulativeQueryLengths = integers(0, 1, 2);
    const blockTables = tf.tensor2d(
      Array.from({ length: batch * room }, (_, i) => batch * room - 1 - i),
      [batch, room],
      'int32',
    );
    const options = { temperature: numbers(0.9), topK: integers(12, 0), topP: numbers(0.9), minP: numbers(0.01) };
    const decoder = (): { next: (...inputs: tf.Tensor[]) => tf.Tensor[]; dispose: () => void } => {
      const cache = createPagedCache(batch * room, shape);
      const next = (ids: tf.Tensor, slots: tf.Tensor, contextLengths: tf.Tensor, uniforms: tf.Tensor): tf.Tensor[] => {
        const qkv = linear(embedding(table, ids), projection);
        pagedCacheAppend(cache.keyCache, cache.valueCache, qkv, slots, shape);
        const sequences = { cumulativeQueryLengths, contextLengths, blockTables };
        const mixed = pagedAttention(qkv, cache.keyCache, cache.valueCache, sequences, shape);
        const { ids: drawn, logProbabilities } = sampleTokens(linear(mixed, table), { ...options, uniforms });
        return [drawn, logProbabilities];
      };
      return { next, dispose: () => cache.dispose() };
    };
    // The two sequences stand at different positions, either side of a split's border.
    const starts = [58, 120];
    const inputs = (step: number, ids: tf.Tensor): tf.Tensor[] => {
      const at = starts.map((start) => start + step);
      const slot = (sequence: number): number =>
        (batch * room - 1 - sequence * room - Math.floor(at[sequence] / 16)) * 16 + (at[sequence] % 16);
      return [
        ids,
        integers(slot(0), slot(1)),
        integers(at[0] + 1, at[1] + 1),
        tf.tensor1d([0.13 * step, 0.9 - 0.1 * step]),
      ];
    };
    const [plain, captured] = [decoder(), decoder()];
    const run = capture(captured.next, inputs(0, integers(3, 7)));
    let [expected, actual] = [integers(3, 7), integers(3, 7)] as tf.Tensor[];
    for (let step = 0; step < 8; step++) {
      const wanted = plain.next(...inputs(step, expected));
      const found = run.run(...inputs(step, actual));
      expect([...found[0].dataSync()]).toEqual([...wanted[0].dataSync()]);
      expect([...found[1].dataSync()]).toEqual([...wanted[1].dataSync()]);
      [expected, actual] = [wanted[0], found[0]];
    }
    run.dispose();
    plain.dispose();
    captured.dispose();
  });

  test('several tensors are read together as they are read one by one', () => {
    const constant = tf.tensor1d([1, 2, 3], 'int32');
    const computed = [tf.add(constant, 1), tf.mul(tf.ones([2, 2]), 0.5), tf.greater(tf.tensor1d([1, 5]), 2)];
    const each = (tensors: tf.Tensor[]): unknown[] => tensors.map((tensor) => tensor.dataSync());
    for (const list of [computed, computed.slice(0, 2), [constant, ...computed], computed.slice(1, 2), []]) {
      expect(readTogether(list)).toEqual(each(list));
    }
    tf.dispose([constant, ...computed]);
  });

  test('counters that advance inside go on from call to call', () => {
    const counters = tf.tidy(() => tf.variable(tf.tensor1d([5, 70], 'int32'), false));
    const captured = capture(
      (x) => {
        const y = tf.mul(x, tf.cast(counters, 'float32'));
        increment(counters);
        return [y];
      },
      [tf.ones([2])],
    );
    // On the device, capturing runs it once.
    const start = [...counters.dataSync()];
    for (let call = 0; call < 4; call++) {
      expect([...captured.run(tf.fill([2], 2))[0].dataSync()]).toEqual(start.map((value) => 2 * (value + call)));
    }
    captured.dispose();
    counters.dispose();
  });

  test('inputs of another shape or dtype, or another number of them, are refused', () => {
    const captured = capture((x) => [tf.square(x)], [tf.ones([2, 3])]);
    expect(codeOf(() => captured.run(tf.ones([3, 2])))).toBe('WRONG_SHAPE');
    expect(codeOf(() => captured.run(tf.ones([2, 3], 'int32')))).toBe('WRONG_DTYPE');
    expect(codeOf(() => captured.run())).toBe('WRONG_SHAPE');
    expect(captured.run(tf.fill([2, 3], 3))[0].dataSync()[5]).toBe(9);
    captured.dispose();
  });

  test('an input given again counts as it is now, also after another and after a change in place', () => {
    const captured = capture((x) => [tf.mul(x, 2)], [tf.tensor1d([1, 2], 'int32')]);
    const doubled = (x: tf.Tensor): number[] => [...captured.run(x)[0].dataSync()];
    const first = tf.tensor1d([3, 4], 'int32');
    const counters = tf.variable(tf.tensor1d([5, 6], 'int32'), false);
    for (let round = 0; round < 2; round++) {
      expect(doubled(first)).toEqual([6, 8]);
      expect(doubled(first)).toEqual([6, 8]);
      expect(doubled(counters)).toEqual([10 + 2 * round, 12 + 2 * round]);
      increment(counters);
      expect(doubled(counters)).toEqual([12 + 2 * round, 14 + 2 * round]);
    }
    captured.dispose();
    tf.dispose([first, counters]);
  });

  test('changes in place of what a function uses are seen, and leave it current', () => {
    const counters = tf.tidy(() => tf.variable(tf.tensor1d([5, 70], 'int32'), false));
    const captured = capture((x) => [tf.mul(x, tf.cast(counters, 'float32'))], [tf.ones([2])]);
    increment(counters);
    expect(captured.current).toBe(true);
    expect([...captured.run(tf.ones([2]))[0].dataSync()]).toEqual([6, 71]);
    captured.dispose();
    counters.dispose();
  });

  test('a function that fails while it is captured leaves nothing behind', () => {
    const x = tf.ones([4]);
    const before = tf.memory().numTensors;
    const failing = (): void => {
      const captured = capture(
        (input) => {
          tf.square(input);
          throw new KernelsError('TEST', 'no such luck');
        },
        [x],
      );
      captured.run(x);
    };
    expect(codeOf(failing)).toBe('TEST');
    expect(tf.memory().numTensors).toBe(before);
    expect(tf.square(x).dataSync()[0]).toBe(1);
  });
});

describe.skipIf(missing !== undefined)('on cuda (emulated) only', () => {
  beforeEach(() => useEmulatedDevice());

  test('a function that reads values, or steps the optimizer by numbers, cannot be captured', () => {
    const x = tf.tensor1d(ramp(100));
    expect(() => capture((input) => [tf.mul(input, tf.square(input).dataSync()[0])], [x])).toThrow(
      expect.objectContaining({ code: 'CAPTURE_READ' }) as Error,
    );
    const state = optimizerState();
    const step = (gradient: tf.Tensor): tf.Tensor[] => {
      adamW(state, [gradient], { learningRate: 0.1, step: 1 });
      return [];
    };
    expect(() => capture(step, [x])).toThrow(expect.objectContaining({ code: 'CAPTURE_FAILED' }) as Error);
    expect(tf.sum(x).dataSync()[0]).toBeCloseTo(
      ramp(100).reduce((sum, value) => sum + value, 0),
      4,
    );
  });

  test('records outside of differentiated functions', () => {
    expect(canRecord()).toBe(true);
    const v = tf.variable(tf.ones([2]));
    let inside: boolean | undefined;
    valueAndGradients(() => {
      inside = canRecord();
      return tf.sum(v);
    }, [v]);
    expect(inside).toBe(false);
    v.dispose();
  });

  test('is not current, and does not run, once a tensor that it uses is gone or stored anew', () => {
    const x = tf.ones([4, 16]);
    const weight = tf.tidy(() => tf.variable(tf.tensor2d(ramp(8 * 16), [8, 16])));
    const stale = (change: () => void): void => {
      const captured = capture((input) => [linear(tf.square(input), weight)], [x]);
      expect(captured.current).toBe(true);
      captured.run(x);
      change();
      expect(captured.current).toBe(false);
      expect(codeOf(() => captured.run(x))).toBe('CAPTURE_STALE');
      captured.dispose();
      expect(captured.current).toBe(false);
      expect(codeOf(() => captured.run(x))).toBe('CAPTURE_FAILED');
    };
    stale(() => weight.assign(tf.ones([8, 16])));
    stale(() => activeCudaBackend()!.store(weight, bfloat16));
    activeCudaBackend()!.store(weight, float32);
    setMatmulPrecision('bfloat16');
    try {
      // A change in place drops the bfloat16 copy, which the graph reads.
      stale(() => activeCudaBackend()!.writable(weight));
      // Meanwhile a step of AdamW in bfloat16 keeps it up to date.
      const captured = capture((input) => [linear(input, weight)], [x]);
      const [firstMoments, secondMoments] = [0, 1].map(() => [tf.tidy(() => tf.variable(tf.zeros([8, 16])))]);
      adamW({ parameters: [weight], firstMoments, secondMoments }, [tf.ones([8, 16])], { learningRate: 0.5, step: 1 });
      expect(captured.current).toBe(true);
      const expected = tf.tidy(() => [...linear(x, weight).dataSync()]);
      expect([...captured.run(x)[0].dataSync()]).toEqual(expected);
      setMatmulPrecision('float32');
      expect(captured.current).toBe(false);
      captured.dispose();
    } finally {
      setMatmulPrecision('float32');
    }
  });

  test('an input that the host wrote and that is given again is not copied again', () => {
    const backend = activeCudaBackend()!;
    const [x, y] = [tf.tensor1d([1, 2]), tf.tensor1d([3, 4])];
    const captured = capture((a, b) => [tf.add(a, b)], [x, y]);
    const uploads = vi.spyOn(backend.addon, 'upload');
    const copies = vi.spyOn(backend.addon, 'convertTo');
    const together = vi.spyOn(backend.addon, 'uploadTogether');
    const copied = (): number[] => [uploads, copies, together].map(({ mock }) => mock.calls.length);
    captured.run(x, y);
    expect(copied()).toEqual([0, 0, 0]);
    // Of y's own, since y has an array on the device.
    expect([...captured.run(y, y)[0].dataSync()]).toEqual([6, 8]);
    expect(copied()).toEqual([0, 1, 0]);
    expect([...captured.run(tf.tensor1d([5, 6]), y)[0].dataSync()]).toEqual([8, 10]);
    expect(copied()).toEqual([1, 1, 0]);
    // Two that are new go together.
    expect([...captured.run(tf.tensor1d([7, 8]), tf.tensor1d([10, 20]))[0].dataSync()]).toEqual([17, 28]);
    expect(copied()).toEqual([1, 1, 1]);
    for (const spy of [uploads, copies, together]) spy.mockRestore();
    captured.dispose();
  });

  test('a replay asks the device for no memory, and disposing gives all of it back', () => {
    const backend = activeCudaBackend()!;
    const x = tf.tensor2d(ramp(512 * 64), [512, 64]);
    const w = tf.tensor2d(ramp(64 * 64), [64, 64]);
    tf.tidy(() => linear(x, w));
    const { liveBytes } = deviceMemory()!;
    const captured = capture((input) => [linear(linear(input, w), w)], [x]);
    const { deviceAllocations } = deviceMemory()!;
    for (let i = 0; i < 5; i++) captured.run(x);
    expect(deviceMemory()!.deviceAllocations).toBe(deviceAllocations);
    captured.dispose();
    expect(deviceMemory()!.liveBytes).toBe(liveBytes);
    backend.addon.releaseCached();
    expect(() => captured.run(x)).toThrow(expect.objectContaining({ code: 'CAPTURE_FAILED' }) as Error);
  });
});
