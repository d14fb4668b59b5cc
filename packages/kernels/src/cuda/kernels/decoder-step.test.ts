/** Which decoding steps have a kernel of their own, and that a captured one advances as the operations one after the other do. On the emulated device. */
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import { relativeError } from '../../conformance/check-case';
import { normal, toTensor } from '../../conformance/host-tensor';
import { decoderStep, type DecoderStepModel, type DecoderStepOptions } from '../../ops/decoder-step';
import { embedding } from '../../ops/embedding';
import { increment } from '../../ops/increment';
import { createPagedCache, type PagedCache } from '../../ops/paged-cache';
import { sampleTokens } from '../../ops/sample-tokens';
import type { CudaAddon } from '../addon';
import { capture } from '../capture';
import type { CudaBackend } from '../cuda-backend';
import { missing, useEmulatedDevice } from '../test-support';

const [width, inner, vocabulary, layers, blocks] = [64, 72, 40, 2, 6];
const options: DecoderStepOptions = { queryHeads: 2, keyValueHeads: 1, headDimension: 64, blockSize: 4, epsilon: 1e-5 };

describe.skipIf(missing !== undefined)(`decoding steps${missing === undefined ? '' : ` (${missing})`}`, () => {
  let backend: CudaBackend;
  let launched: MockInstance<CudaAddon['decoderStep']>;
  let takes: MockInstance<CudaAddon['decoderStepTakes']>;
  beforeAll(async () => {
    backend = await useEmulatedDevice();
    launched = vi.spyOn(backend.addon, 'decoderStep');
    takes = vi.spyOn(backend.addon, 'decoderStepTakes');
  });
  beforeEach(() => {
    backend.matmulPrecision = 'bfloat16';
    launched.mockClear();
  });
  afterAll(() => {
    launched.mockRestore();
    takes.mockRestore();
    backend.matmulPrecision = 'float32';
  });

  let seed = 1;
  const weights = (shape: number[], mean = 0): tf.Tensor => toTensor(normal(shape, seed++, 0.125, mean));
  function modelOf(caches: PagedCache[]): DecoderStepModel {
    seed = 1;
    return {
      layers: caches.map(({ keyCache, valueCache }) => ({
        attentionNorm: weights([width], 1),
        qkv: weights([4 * 64, width]),
        output: weights([width, 2 * 64]),
        feedForwardNorm: weights([width], 1),
        gateUp: weights([2 * inner, width]),
        down: weights([width, inner]),
        keyCache,
        valueCache,
      })),
      finalNorm: weights([width], 1),
      head: weights([vocabulary, width]),
      inverseFrequencies: tf.tensor1d(Float32Array.from({ length: 32 }, (_, i) => 10000 ** (-i / 32))),
    };
  }
  const counter = (values: number[]): tf.Variable => tf.tidy(() => tf.variable(tf.tensor1d(values, 'int32'), false));

  /** Logits of so many steps from empty caches, each in its block of rows; `captured`: replayed from one recording. */
  function decode(rows: number, steps: number, captured: boolean): number[][] {
    tf.engine().startScope();
    const caches = Array.from({ length: layers }, () => createPagedCache(rows * blocks, { ...options }));
    const model = modelOf(caches);
    const own = Array.from({ length: rows }, (_, row) => row);
    const [positions, lengths] = [counter(own.map(() => 0)), counter(own.map(() => 1))];
    const slots = counter(own.map((row) => row * blocks * options.blockSize));
    const blockTables = tf.tensor2d(
      own.flatMap((row) => Array.from({ length: blocks }, (_, block) => row * blocks + block)),
      [rows, blocks],
      'int32',
    );
    const iteration = (stream: tf.Tensor): tf.Tensor[] => {
      const logits = decoderStep(stream, model, { positions, slots, contextLengths: lengths, blockTables }, options);
      for (const one of [positions, slots, lengths]) increment(one);
      return [logits];
    };
    const streamOf = (step: number): tf.Tensor => toTensor(normal([rows, width], 100 + step));
    // Capturing runs the function once.
    const recorded = captured ? capture(iteration, [streamOf(0)]) : undefined;
    const results: number[][] = [];
    for (let step = captured ? 1 : 0; step < steps; step++) {
      const [logits] = recorded?.run(streamOf(step)) ?? iteration(streamOf(step));
      results.push([...logits.dataSync()]);
    }
    recorded?.dispose();
    for (const one of [...caches, positions, slots, lengths]) one.dispose();
    tf.engine().endScope();
    return results;
  }

  test.each([1, 2, 3, 4])('of %d rows are one launch, and agree with the operations', (rows) => {
    const results = decode(rows, 6, false);
    expect(launched).toHaveBeenCalledTimes(6);
    takes.mockReturnValue(false);
    const composed = decode(rows, 6, false);
    takes.mockReset();
    expect(launched).toHaveBeenCalledTimes(6);
    results.forEach((logits, step) => expect(relativeError(logits, composed[step])).toBeLessThan(1e-2));
  });

  test('replayed from a recording give the same bits', () => {
    expect(decode(2, 6, true)).toEqual(decode(2, 6, false).slice(1));
  });

  test('from ids, advancing, replayed, draw what the operations apart draw', () => {
    const steps = 8;
    const draw = (together: boolean): number[][] => {
      tf.engine().startScope();
      const caches = Array.from({ length: layers }, () => createPagedCache(blocks, { ...options }));
      const model = modelOf(caches);
      const table = weights([vocabulary, width]);
      const [ids, positions, slots, contextLengths] = [3, 0, 0, 1].map((first) => counter([first]));
      const blockTables = tf.tensor2d([Array.from({ length: blocks }, (_, block) => block)], [1, blocks], 'int32');
      const sequences = { positions, slots, contextLengths, blockTables };
      const [zero, one] = [tf.tensor1d([0]), tf.tensor1d([1])];
      const sampling = { temperature: zero, topK: tf.tensor1d([0], 'int32'), topP: one, minP: zero, uniforms: zero };
      const iteration = (): tf.Tensor[] => {
        if (together) {
          const logits = decoderStep({ table, ids }, model, sequences, { ...options, advance: true });
          return [sampleTokens(logits, sampling, ids).logProbabilities];
        }
        const { ids: drawn, logProbabilities } = sampleTokens(
          decoderStep(embedding(table, ids), model, sequences, options),
          sampling,
        );
        increment([positions, slots, contextLengths]);
        ids.assign(drawn);
        return [logProbabilities];
      };
      const recorded = together ? capture(iteration, []) : undefined;
      const results: number[][] = together ? [] : [[...iteration()[0].dataSync(), ...ids.dataSync()]];
      for (let step = 1; step < steps; step++) {
        const [logProbabilities] = recorded?.run() ?? iteration();
        results.push([...logProbabilities.dataSync(), ...ids.dataSync()]);
      }
      recorded?.dispose();
      for (const each of [...caches, ids, positions, slots, contextLengths]) each.dispose();
      tf.engine().endScope();
      return results;
    };
    const apart = draw(false);
    expect(draw(true)).toEqual(apart.slice(1));
    expect(new Set(apart.map(([, id]) => id)).size).toBeGreaterThan(1);
  });

  test('of more rows, or in float32, are the operations', () => {
    decode(5, 1, false);
    backend.matmulPrecision = 'float32';
    decode(1, 1, false);
    expect(launched).not.toHaveBeenCalled();
  });
});
