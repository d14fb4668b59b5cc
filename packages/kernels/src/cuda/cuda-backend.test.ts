/** The backend's own behaviour: storage, reads, weights' copies, errors. On the emulated device. */
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import '../gradients/index';
import { normalValues } from '../conformance/host-tensor';
import { KernelsError } from '../kernels-error';
import { adamW } from '../ops/adam-w';
import { embedding } from '../ops/embedding';
import { linear } from '../ops/linear';
import { linearCrossEntropy } from '../ops/linear-cross-entropy';
import { pagedAttention } from '../ops/paged-attention';
import { createPagedCache, pagedCacheAppend } from '../ops/paged-cache';
import { rmsNorm } from '../ops/rms-norm';
import { valueAndGradients } from '../tape/value-and-gradients';
import type { CudaBackend } from './cuda-backend';
import { bfloat16, float32 } from './physical-type';
import { deviceMemory, setMatmulPrecision, storeInBfloat16 } from './settings';
import { missing, useEmulatedDevice } from './test-support';

function toBfloat16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0];
}

function thrownBy(f: () => unknown): unknown {
  try {
    f();
  } catch (error) {
    return error;
  }
  return undefined;
}

const ramp = (count: number, scale = 1): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.7) * scale);

describe.skipIf(missing !== undefined)(`the CUDA backend${missing === undefined ? '' : ` (${missing})`}`, () => {
  let backend: CudaBackend;
  let before = 0;
  beforeAll(async () => {
    backend = await useEmulatedDevice();
  });
  beforeEach(() => {
    before = backend.addon.statistics().liveBlocks;
    tf.engine().startScope();
  });
  afterEach(() => {
    tf.engine().endScope();
    setMatmulPrecision('float32');
    // The first product's workspace stays; nothing else does.
    expect(backend.addon.statistics().liveBlocks - before).toBeLessThanOrEqual(1);
  });
  const typeOf = (tensor: tf.Tensor): number => backend.typeOf(tensor);

  test('reads what was written, in every dtype and size, at once and later', async () => {
    for (const count of [0, 1, 64, 65, 5000]) {
      const floats = ramp(count);
      const x = tf.tensor1d(floats);
      expect([...x.dataSync()]).toEqual([...floats]);
      expect([...(await x.data())]).toEqual([...floats]);
      const integers = Int32Array.from(floats, (value) => Math.round(value * 1e9));
      const y = tf.tensor1d(integers, 'int32');
      expect([...(await y.data())]).toEqual([...integers]);
      const flags = tf.tensor1d(
        [...floats].map((value) => value > 0),
        'bool',
      );
      expect([...flags.dataSync()]).toEqual([...floats].map((value) => (value > 0 ? 1 : 0)));
    }
    expect(tf.tensor1d(['a', 'b']).dataSync()).toEqual(['a', 'b']);
  });

  test('what the caller does to an array afterwards changes no tensor', () => {
    for (const count of [4, 400]) {
      const values = new Float32Array(count).fill(1);
      const x = tf.tensor1d(values);
      values.fill(2);
      expect(x.dataSync()[0]).toBe(1);
      x.dataSync().fill(3);
      expect(x.dataSync()[0]).toBe(1);
    }
  });

  test('a read waits for the work before it, not for what comes after, though its tensor is disposed of', async () => {
    const x = tf.tensor1d(ramp(1000));
    const y = tf.mul(x, 3);
    const pending = y.data();
    y.dispose();
    tf.mul(x, 5);
    const values = await pending;
    expect(values[7]).toBeCloseTo(ramp(8)[7] * 3, 6);
  });

  test('bfloat16 rounds activations in memory, and nothing that must not be', () => {
    setMatmulPrecision('bfloat16');
    const weight = tf.variable(tf.tensor2d(ramp(64 * 32), [64, 32]));
    const norm = tf.variable(tf.ones([32]));
    const ids = tf.tensor1d([3, 1, 2], 'int32');
    const { value, gradients } = valueAndGradients(() => {
      const x = embedding(weight, ids);
      const normalized = rmsNorm(x, norm, { epsilon: 1e-5 });
      expect([typeOf(x), typeOf(normalized)]).toEqual([bfloat16, bfloat16]);
      expect(typeOf(tf.add(x, normalized))).toBe(bfloat16);
      const [rounded, exact] = [linear(x, weight), linear(x, weight, { float32Output: true })];
      expect([typeOf(rounded), typeOf(exact)]).toEqual([bfloat16, float32]);
      expect(rounded.dataSync()[7]).toBe(toBfloat16(exact.dataSync()[7]));
      expect(x.dataSync()[5]).toBe(toBfloat16(weight.dataSync()[3 * 32 + 5]));
      const logP = linearCrossEntropy(normalized, weight, ids);
      expect(typeOf(logP)).toBe(float32);
      return tf.neg(tf.sum(logP)) as tf.Scalar;
    }, [weight, norm]);
    // `weight`: a bfloat16 gradient of linear, and float32 ones of the embedding and the head.
    expect([...gradients.values()].map(typeOf)).toEqual([float32, float32]);
    expect([typeOf(weight), typeOf(value)]).toEqual([float32, float32]);
    const one = valueAndGradients(() => tf.sum(linear(embedding(weight, ids), weight)), [weight]);
    const product = valueAndGradients(() => tf.sum(linear(tf.ones([3, weight.shape[1]]), weight)), [weight]);
    const [sum, rounded] = [one, product].map(({ gradients: [...all] }) => all[0][1]);
    expect([typeOf(sum), typeOf(rounded), typeOf(tf.add(tf.zeros(rounded.shape), rounded))]).toEqual([
      float32,
      bfloat16,
      float32,
    ]);
    weight.dispose();
    norm.dispose();
  });

  test('a gradient that is not the expected one is an error', async () => {
    const weight = tf.variable(tf.tensor2d(ramp(24 * 8), [24, 8]));
    const hidden = tf.tensor2d(ramp(3 * 8), [3, 8]);
    const targets = tf.tensor1d([1, -100, 7], 'int32');
    const gradient = (factors: number[]): tf.Tensor => {
      const loss = (): tf.Scalar => {
        const logP = linearCrossEntropy(hidden, weight, targets, { expectedGradient: -0.5 });
        return tf.sum(tf.mul(logP, tf.tensor1d(factors)));
      };
      return [...valueAndGradients(loss, [weight]).gradients.values()][0];
    };
    expect(await gradient([-0.5, 9, -0.5]).data()).toHaveLength(24 * 8);
    await expect(gradient([-0.5, 0, -0.25]).data()).rejects.toMatchObject({
      code: 'UNEXPECTED_GRADIENT',
      message: expect.stringContaining('log-probability 2') as string,
    });
    weight.dispose();
  });

  test('a weight has one bfloat16 copy, which AdamW keeps up to date', () => {
    setMatmulPrecision('bfloat16');
    const shape: [number, number] = [64, 32];
    const weight = tf.variable(tf.tensor2d(ramp(64 * 32), shape));
    const moments = [0, 1].map(() => tf.tidy(() => tf.variable(tf.zeros(shape))));
    const x = tf.tensor2d(ramp(32), [1, 32]);
    const copies = (): number =>
      deviceMemory()!.byOperation.find(({ name }) => name.startsWith('bfloat16'))?.blocks ?? 0;
    const product = (): number => tf.tidy(() => linear(x, weight).dataSync()[0]);
    const expected = (): number => {
      const values = weight.dataSync();
      return ramp(32).reduce((sum, value, i) => sum + toBfloat16(value) * toBfloat16(values[i]), 0);
    };
    const known = copies();
    expect(product()).toBeCloseTo(expected(), 1);
    product();
    expect(copies() - known).toBe(1);
    for (let step = 1; step <= 3; step++) {
      adamW({ parameters: [weight], firstMoments: [moments[0]], secondMoments: [moments[1]] }, [tf.ones(shape)], {
        learningRate: 0.5,
        step,
      });
      expect(Math.abs(product() / expected() - 1)).toBeLessThan(0.01);
    }
    expect(copies() - known).toBe(1);
    // Without bfloat16 the copy is not refreshed, so it must go.
    setMatmulPrecision('float32');
    adamW({ parameters: [weight], firstMoments: [moments[0]], secondMoments: [moments[1]] }, [tf.ones(shape)], {
      learningRate: 0.5,
      step: 4,
    });
    expect(copies() - known).toBe(0);
    weight.dispose();
    for (const moment of moments) moment.dispose();
  });

  test('moments may be kept in bfloat16: rounded up or down so that the mean stays', () => {
    const count = 4096;
    const [parameter, first, second] = [0, 1, 2].map(() => tf.tidy(() => tf.variable(tf.zeros([count]))));
    expect(storeInBfloat16(first) && storeInBfloat16(second)).toBe(true);
    const gradient = tf.fill([count], 1.003);
    adamW({ parameters: [parameter], firstMoments: [first], secondMoments: [second] }, [gradient], {
      learningRate: 1e-3,
      beta1: 0.9,
      step: 1,
    });
    const values = first.dataSync<'float32'>();
    const mean = values.reduce((sum, value) => sum + value, 0) / count;
    const exact = 0.1 * 1.003;
    // Neighbouring bfloat16 numbers there are 2^-11 apart.
    expect(new Set(values).size).toBe(2);
    expect(Math.abs(mean - exact)).toBeLessThan(2 ** -11 / 8);
    for (const variable of [parameter, first, second]) variable.dispose();
  });

  test('TensorFloat-32 and bfloat16 products lie as far from the exact one as their digits say', () => {
    const random = (count: number, seed: number): Float32Array => Float32Array.from(normalValues(count, seed));
    const [a, b] = [tf.tensor2d(random(40 * 300, 1), [40, 300]), tf.tensor2d(random(300 * 20, 2), [300, 20])];
    const exact = tf.matMul(a, b).dataSync();
    const error = (precision: 'tensorfloat32' | 'bfloat16'): number => {
      setMatmulPrecision(precision);
      const values = tf.matMul(a, b).dataSync();
      return Math.hypot(...values.map((value, i) => value - exact[i])) / Math.hypot(...exact);
    };
    expect(error('tensorfloat32')).toBeGreaterThan(1e-6);
    expect(error('tensorfloat32')).toBeLessThan(1e-3);
    expect(error('bfloat16')).toBeGreaterThan(1e-4);
    expect(error('bfloat16')).toBeLessThan(1e-2);
  });

  test('a bad index is reported at the next read, with its operation, and then forgotten', async () => {
    const weight = tf.tensor2d(ramp(100 * 4), [100, 4]);
    const rows = embedding(weight, tf.tensor1d([5, 100, 7], 'int32'));
    const error = thrownBy(() => rows.dataSync());
    expect(error).toMatchObject({ code: 'OUT_OF_RANGE' });
    expect((error as Error).message).toMatch(/^embedding: ids\[1\] is 100.*\(found on emulated device\)$/);
    expect(rows.dataSync()[0]).toBeCloseTo(weight.dataSync()[20]);
    const hidden = tf.tensor2d(ramp(8), [2, 4]);
    const logP = linearCrossEntropy(hidden, weight, tf.tensor1d([0, 300], 'int32'));
    await expect(tf.concat([logP, tf.zeros([100])]).data()).rejects.toMatchObject({
      code: 'OUT_OF_RANGE',
      message: expect.stringContaining('linearCrossEntropy: targets[1] is 300') as string,
    });
  });

  test('a paged cache is stored as activations are; bad slots, lengths and blocks are reported at the next read', () => {
    setMatmulPrecision('bfloat16');
    const shape = { queryHeads: 2, keyValueHeads: 1, headDimension: 8, blockSize: 4 };
    const cache = createPagedCache(3, shape);
    const qkv = tf.tensor2d(ramp(2 * 32), [2, 32]);
    const integers = (...values: number[]): tf.Tensor1D => tf.tensor1d(values, 'int32');
    const append = (...slots: number[]): void =>
      pagedCacheAppend(cache.keyCache, cache.valueCache, qkv, integers(...slots), shape);
    append(8, 9);
    expect(typeOf(cache.keyCache)).toBe(bfloat16);
    const attend = (context: number, block: number, ...queryEnds: number[]): tf.Tensor =>
      pagedAttention(
        qkv,
        cache.keyCache,
        cache.valueCache,
        {
          cumulativeQueryLengths: integers(...queryEnds),
          contextLengths: integers(context),
          blockTables: tf.tensor2d([block], [1, 1], 'int32'),
        },
        shape,
      );
    const out = attend(2, 2, 0, 2);
    expect(typeOf(out)).toBe(bfloat16);
    // The first token sees its own value only, in both heads.
    const firstValue = [...ramp(64).slice(24, 32)].map(toBfloat16);
    expect([...out.dataSync().slice(0, 16)]).toEqual([...firstValue, ...firstValue]);
    const messageOf = (f: () => unknown): string => String(thrownBy(f));
    append(12, 0);
    expect(messageOf(() => cache.keyCache.dataSync())).toContain('pagedCacheAppend: slots[0] is 12');
    expect(messageOf(() => attend(1, 2, 0, 2).dataSync())).toContain('pagedAttention: contextLengths[0] is 1');
    expect(messageOf(() => attend(2, 3, 0, 2).dataSync())).toContain('pagedAttention: blockTables[0] is 3');
    expect(messageOf(() => attend(2, 2, 0, 1).dataSync())).toContain('entry 1 is 1');
    expect([...attend(2, 2, 0, 2).dataSync()]).toEqual([...out.dataSync()]);
    // float32 queries read the same cache.
    setMatmulPrecision('float32');
    const exact = attend(2, 2, 0, 2);
    expect(typeOf(exact)).toBe(float32);
    expect([...exact.dataSync().slice(0, 16)]).toEqual([...firstValue, ...firstValue]);
    cache.dispose();
  });

  test('errors name the operation, shapes, how they are stored, and the device', () => {
    setMatmulPrecision('bfloat16');
    const x = linear(tf.ones([3, 8]), tf.ones([4, 8]));
    const error = thrownBy(() => tf.engine().runKernel('XgLinear', { x, weight: tf.ones([4, 9]) }));
    expect(KernelsError.isInstance(error)).toBe(true);
    expect((error as Error).message).toContain('XgLinear: ');
    expect((error as Error).message).toContain(
      'x float32 stored as bfloat16 [3, 4], weight float32 [4, 9]; emulated device',
    );
  });

  test('running out of memory names the operation and leaks nothing', () => {
    const { liveBlocks } = backend.addon.statistics();
    backend.addon.setCapacity!(deviceMemory()!.reservedBytes);
    const failure = thrownBy(() => tf.fill([4096, 4096], 1));
    backend.addon.setCapacity!(16 * 2 ** 30);
    expect(failure).toMatchObject({ code: 'OUT_OF_MEMORY' });
    expect((failure as Error).message).toContain('Fill: The device has no 64.0 MiB left for Fill');
    expect(backend.addon.statistics().liveBlocks).toBe(liveBlocks);
  });

  test('clones and reshapes share their data; disposing of one leaves the others', () => {
    const x = tf.tensor2d(ramp(600), [20, 30]);
    const { liveBytes } = deviceMemory()!;
    const [y, z] = [tf.reshape(x, [600]), tf.clone(x)];
    expect(deviceMemory()!.liveBytes).toBe(liveBytes);
    x.dispose();
    z.dispose();
    expect(y.dataSync()[599]).toBe(ramp(600)[599]);
  });
});
