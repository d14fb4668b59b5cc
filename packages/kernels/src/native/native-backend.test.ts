/** The backend's memory: what is given out never changes, what is free is used again, stock kernels work on it. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { KernelsError } from '../kernels-error';
import * as names from '../kernel-names';
import { loadAddon } from './load-addon';
import type { NativeBackend } from './native-backend';
import { nativeBackend, setNativeVariant } from './settings';

const available = loadAddon().addon !== undefined;

function runKernel(name: string, inputs: Record<string, tf.Tensor>, attributes: object = {}): tf.Tensor[] {
  return tf.engine().runKernel(name, inputs, attributes as tf.NamedAttrMap) as unknown as tf.Tensor[];
}

describe.skipIf(!available)('native backend', () => {
  let backend: NativeBackend;
  beforeAll(async () => {
    backend = nativeBackend()!;
    await tf.setBackend('native');
    expect(tf.getBackend()).toBe('native');
  });

  it('gives out arrays that stay as they are', () => {
    const variable = tf.variable(tf.tidy(() => tf.add(tf.ones([64]), tf.ones([64]))));
    const before = variable.dataSync();
    const step = (): void => {
      const [gradient, first, second, scale] = [tf.ones([64]), tf.zeros([64]), tf.zeros([64]), tf.scalar(1)];
      const [m, v] = [tf.variable(first), tf.variable(second)];
      runKernel(
        names.XgAdamW,
        { parameter0: variable, gradient0: gradient, firstMoment0: m, secondMoment0: v, gradientScale: scale },
        { count: 1, learningRate: 0.5, beta1: 0.9, beta2: 0.9, epsilon: 1e-8, weightDecay: [0], step: 1 },
      );
      tf.dispose([gradient, first, second, scale, m, v]);
    };
    step();
    const between = variable.dataSync();
    step();
    expect(before[0]).toBe(2);
    expect(between[0]).toBeCloseTo(1.5, 5);
    expect(variable.dataSync()[0]).toBeCloseTo(1, 5);
    variable.dispose();
    // Others may now use the buffer, but not those that were read.
    tf.tidy(() => tf.add(tf.ones([64]), tf.ones([64])).dataSync());
    expect(between[0]).toBeCloseTo(1.5, 5);
  });

  it('never writes into an array that the caller brought', () => {
    const own = Float32Array.from([1, 2, 3]);
    const cache = tf.tensor(Float32Array.from([0, 0, 0, 0]), [4, 1]);
    const qkv = tf.tensor2d(own, [1, 3]);
    const slots = tf.tensor1d([2], 'int32');
    const values = tf.tensor(own.slice(0, 1), [1, 1]);
    const given = cache.dataSync();
    runKernel(
      names.XgPagedCacheAppend,
      { keyCache: cache, valueCache: cache, qkv, slots },
      { queryHeads: 1, keyValueHeads: 1, headDimension: 1 },
    );
    expect([...given]).toEqual([0, 0, 0, 0]);
    expect([...cache.dataSync()]).toEqual([0, 0, 3, 0]);
    expect([...own]).toEqual([1, 2, 3]);
    tf.dispose([cache, qkv, slots, values]);
  });

  it('keeps views of stock kernels apart from the pool', () => {
    const x = tf.tidy(() => tf.add(tf.range(0, 12), tf.scalar(0)));
    // Not whole rows of the first axis, but contiguous: the stock kernel answers with a view of the same memory.
    const part = tf.tidy(() => tf.slice(tf.reshape(x, [1, 12]), [0, 4], [1, 4]));
    x.dispose();
    tf.tidy(() => tf.add(tf.fill([12], 9), tf.scalar(1)));
    expect([...part.dataSync()]).toEqual([4, 5, 6, 7]);
    part.dispose();
  });

  it('uses its memory again: nothing grows over 1,000 steps', () => {
    const weight = tf.variable(tf.randomNormal([96, 64]));
    const x = tf.randomNormal<tf.Rank.R2>([300, 64]);
    const step = (): void =>
      tf.tidy(() => {
        const [y] = runKernel(names.XgLinear, { x, weight });
        runKernel(names.XgLinearGrad, { x, weight, dy: y });
        tf.sum(tf.mul(y, y), 1);
      });
    for (let i = 0; i < 20; i++) step();
    const [tensors, pool] = [tf.memory().numTensors, backend.pool.statistics()];
    for (let i = 0; i < 1000; i++) step();
    expect(tf.memory().numTensors).toBe(tensors);
    expect(backend.pool.statistics()).toEqual(pool);
    tf.dispose([weight, x]);
  });

  it('keeps a packed copy of a weight for decoding, with the same bits, until the weight changes', () => {
    const x = tf.randomNormal([5, 70]);
    const weight = tf.variable(tf.tidy(() => tf.mul(tf.randomNormal([90, 70]), tf.scalar(1))));
    const product = (rows: tf.Tensor): Float32Array =>
      tf.tidy(() => runKernel(names.XgLinear, { x: rows, weight })[0].dataSync<'float32'>());
    // Rows of a product of many rows, which uses no packed copy.
    const many = tf.tidy(() => tf.tile(x, [20, 1]));
    const expected = (): Float32Array => product(many).slice(0, 5 * 90);
    const packed = (): boolean => backend.dataOf(weight.dataId).packed !== undefined;
    for (const precision of ['float32', 'bfloat16'] as const) {
      backend.matmulPrecision = precision;
      const before = expected();
      for (let use = 0; use < 6; use++) expect(product(x)).toEqual(before);
      expect(packed()).toBe(true);
    }
    const [gradient, first, second, scale] = [tf.ones([90, 70]), tf.zeros([90, 70]), tf.zeros([90, 70]), tf.scalar(1)];
    const [m, v] = [tf.variable(first), tf.variable(second)];
    const old = product(x);
    runKernel(
      names.XgAdamW,
      { parameter0: weight, gradient0: gradient, firstMoment0: m, secondMoment0: v, gradientScale: scale },
      { count: 1, learningRate: 1, beta1: 0.9, beta2: 0.9, epsilon: 1e-8, weightDecay: [0], step: 1 },
    );
    expect(packed()).toBe(false);
    for (let use = 0; use < 4; use++) expect(product(x)).toEqual(expected());
    expect(product(x)).not.toEqual(old);
    // What a stock kernel or the caller may have written counts as well.
    weight.dataSync<'float32'>().fill(0);
    expect(product(x).every((value) => value === 0)).toBe(true);
    backend.matmulPrecision = 'float32';
    const { liveBytes } = backend.pool.statistics();
    tf.dispose([x, weight, many, gradient, first, second, scale, m, v]);
    expect(backend.pool.statistics().liveBytes).toBeLessThan(liveBytes);
  });

  it('turns what native code refuses into an error that names the kernel and its inputs', () => {
    const [weight, ids] = [tf.ones([4, 2]), tf.tensor1d([0, 3, 4], 'int32')];
    let thrown: unknown;
    try {
      runKernel(names.XgEmbedding, { weight, ids });
    } catch (error) {
      thrown = error;
    }
    expect(KernelsError.isInstance(thrown)).toBe(true);
    expect(thrown).toMatchObject({ code: 'INDEX_OUT_OF_RANGE' });
    expect((thrown as Error).message).toBe(
      'XgEmbedding: ids[2] is 4, outside 0 … 3. (weight float32 [4, 2], ids int32 [3])',
    );
    tf.dispose([weight, ids]);
  });

  it('says which variants it could run instead', () => {
    expect(() => setNativeVariant('altivec')).toThrow(/no variant 'altivec'.*portable/);
  });

  describe('kernels refuse what would read or write outside their memory', () => {
    const heads = { queryHeads: 2, keyValueHeads: 1, headDimension: 4, scale: 1 };
    const int = (...values: number[]): tf.Tensor => tf.tensor1d(values, 'int32');
    const qkv = (): tf.Tensor => tf.ones([3, 16]);
    const caches = () => ({ keyCache: tf.ones([8, 4]), valueCache: tf.ones([8, 4]) });
    const paged = (queries: tf.Tensor, contexts: tf.Tensor, tables: number[], blockSize = 4) => ({
      name: names.XgPagedAttention,
      inputs: {
        qkv: qkv(),
        ...caches(),
        cumulativeQueryLengths: queries,
        contextLengths: contexts,
        blockTables: tf.tensor2d(tables, [1, tables.length], 'int32'),
      },
      attributes: { ...heads, blockSize },
    });
    const loss = (targets: tf.Tensor) => ({
      name: names.XgLinearCrossEntropy,
      inputs: { hidden: tf.ones([2, 3]), weight: tf.ones([5, 3]), targets },
      attributes: { ignoreIndex: -100 },
    });
    const attention = (cumulativeLengths: tf.Tensor, attributes: object = heads) => ({
      name: names.XgAttention,
      inputs: { qkv: qkv(), cumulativeLengths },
      attributes,
    });
    const append = (...slots: number[]) => ({
      name: names.XgPagedCacheAppend,
      inputs: { ...caches(), qkv: qkv(), slots: int(...slots) },
      attributes: heads,
    });
    const cases: [string, () => { name: string; inputs: Record<string, tf.Tensor>; attributes: object }][] = [
      [
        'a negative id',
        () => ({ name: names.XgEmbedding, inputs: { weight: tf.ones([4, 2]), ids: int(-1) }, attributes: {} }),
      ],
      ['a target past the vocabulary', () => loss(int(0, 5))],
      ['a negative target', () => loss(int(0, -1))],
      ['lengths that start late', () => attention(int(1, 3))],
      ['lengths that end early', () => attention(int(0, 2))],
      ['lengths that fall', () => attention(int(0, 2, 1, 3))],
      ['no lengths', () => attention(int())],
      ['heads that do not divide', () => attention(int(0, 3), { ...heads, keyValueHeads: 3 })],
      ['a head size of 0', () => attention(int(0, 3), { ...heads, headDimension: 0 })],
      ['a slot past the cache', () => append(0, 1, 8)],
      ['a negative slot', () => append(0, -1, 1)],
      ['a context shorter than its queries', () => paged(int(0, 3), int(2), [0])],
      ['a context longer than its blocks', () => paged(int(0, 3), int(5), [0])],
      ['a block past the cache', () => paged(int(0, 3), int(5), [0, 2])],
      ['a negative block', () => paged(int(0, 3), int(5), [0, -1])],
      ['blocks larger than the cache', () => paged(int(0, 3), int(3), [0], 16)],
      [
        'float ids',
        () => ({ name: names.XgEmbedding, inputs: { weight: tf.ones([4, 2]), ids: tf.ones([2]) }, attributes: {} }),
      ],
      [
        'a weight of another width',
        () => ({ name: names.XgLinear, inputs: { x: tf.ones([2, 3]), weight: tf.ones([4, 2]) }, attributes: {} }),
      ],
      [
        'a gradient of another shape',
        () => ({
          name: names.XgAdamW,
          inputs: {
            parameter0: tf.ones([4]),
            gradient0: tf.ones([3]),
            firstMoment0: tf.ones([4]),
            secondMoment0: tf.ones([4]),
            gradientScale: tf.scalar(1),
          },
          attributes: { count: 1, learningRate: 1, beta1: 0, beta2: 0, epsilon: 1, weightDecay: [0], step: 1 },
        }),
      ],
      [
        'a missing gradient',
        () => ({
          name: names.XgGlobalNorm,
          inputs: { gradient0: tf.ones([2]) },
          attributes: { count: 2, maximumNorm: 1 },
        }),
      ],
    ];
    it.each(cases)('%s', (_, make) => {
      tf.tidy(() => {
        const { name, inputs, attributes } = make();
        let thrown: unknown;
        try {
          runKernel(name, inputs, attributes);
        } catch (error) {
          thrown = error;
        }
        expect(KernelsError.isInstance(thrown), `threw ${String(thrown)}`).toBe(true);
        expect((thrown as Error).message).toContain(name);
      });
    });
  });
});
