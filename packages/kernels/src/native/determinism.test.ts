/** The same bits whatever the number of threads, and whatever else is in the batch. */
import { afterAll, describe, expect, it } from 'vitest';
import { loadAddon } from './load-addon';
import type { NativeAddon } from './addon';

const { addon } = loadAddon();

function random(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const heads = { query: 6, keyValue: 2, dimension: 24 };
const row = (heads.query + 2 * heads.keyValue) * heads.dimension;
const outRow = heads.query * heads.dimension;
const scale = heads.dimension ** -0.5;

/** Attention of a packed batch, and its gradient. */
function attend(
  native: NativeAddon,
  qkv: Float32Array,
  cumulative: Int32Array,
): [Float32Array, Float32Array, Float32Array] {
  const tokens = qkv.length / row;
  const [out, logSumExp] = [new Float32Array(tokens * outRow), new Float32Array(tokens * heads.query)];
  const dQkv = new Float32Array(qkv.length);
  const { query, keyValue, dimension } = heads;
  native.attention(query, keyValue, dimension, scale, tokens, cumulative.length - 1, qkv, cumulative, out, logSumExp);
  const dy = random(out.length, 77);
  native.attentionGrad(
    query,
    keyValue,
    dimension,
    scale,
    tokens,
    cumulative.length - 1,
    qkv,
    cumulative,
    out,
    logSumExp,
    dy,
    dQkv,
  );
  return [out, logSumExp, dQkv];
}

/** Everything that splits work between threads. */
function runAll(native: NativeAddon): Float32Array[] {
  const outputs: Float32Array[] = [];
  const make = (count: number): Float32Array => {
    const array = new Float32Array(count).fill(NaN);
    outputs.push(array);
    return array;
  };
  const [rows, width, vocabulary] = [333, 72, 1300];
  const [x, weight] = [random(rows * width, 1), random(vocabulary * width, 2)];
  const targets = Int32Array.from({ length: rows }, (_, i) => (i % 5 === 3 ? -100 : (i * 31) % vocabulary));
  const dy = random(rows * vocabulary, 3);
  for (const bfloat16 of [false, true]) {
    native.linear(rows, width, vocabulary, bfloat16, x, weight, make(rows * vocabulary));
    native.linearGrad(rows, width, vocabulary, bfloat16, x, weight, dy, make(rows * width), make(vocabulary * width));
    const logSumExp = make(rows);
    native.linearCrossEntropy(rows, width, vocabulary, -100, bfloat16, x, weight, targets, make(rows), logSumExp);
    native.linearCrossEntropyGrad(
      rows,
      width,
      vocabulary,
      -100,
      bfloat16,
      x,
      weight,
      targets,
      logSumExp,
      dy.slice(0, rows),
      make(rows * width),
      make(vocabulary * width),
    );
  }
  const inverseRms = make(rows);
  native.rmsNorm(rows, width, 1e-5, x, null, weight.slice(0, width), make(rows * width), null, inverseRms);
  native.rmsNormGrad(
    rows,
    width,
    x,
    weight.slice(0, width),
    inverseRms,
    dy.slice(0, rows * width),
    null,
    make(rows * width),
    make(width),
  );
  native.embeddingGrad(
    rows,
    width,
    50,
    targets.map((id) => Math.abs(id) % 50),
    dy.slice(0, rows * width),
    make(50 * width),
  );
  // One document past the limit of the one-pass gradient, some short ones.
  outputs.push(...attend(native, random(1500 * row, 9), Int32Array.of(0, 1, 1, 1200, 1300, 1500)));
  const norm = native.globalNorm([dy, x, weight]);
  outputs.push(Float32Array.of(norm));
  native.sumRows(1, dy.length, dy, make(1));
  native.sumColumns(rows, vocabulary, dy, make(vocabulary));
  return outputs;
}

describe.skipIf(addon === undefined)('determinism', () => {
  const threads = addon?.threadCount() ?? 1;
  afterAll(() => {
    addon!.setVariant('');
    addon!.setThreadCount(threads);
  });

  it.each(addon?.variants() ?? [])('%s: the number of threads changes nothing', (variant) => {
    addon!.setVariant(variant);
    addon!.setThreadCount(1);
    const expected = runAll(addon!);
    for (const count of [2, 3, 5]) {
      addon!.setThreadCount(count);
      runAll(addon!).forEach((output, index) => {
        expect(Buffer.compare(bytesOf(output), bytesOf(expected[index])), `output ${index}, ${count} threads`).toBe(0);
        expect(output.some(Number.isNaN), `output ${index}`).toBe(false);
      });
    }
  });

  it.each(addon?.variants() ?? [])('%s: decoding with a paged cache gives the bits of one pass', (variant) => {
    addon!.setVariant(variant);
    addon!.setThreadCount(3);
    const { query, keyValue, dimension } = heads;
    // Longer than a segment of the attention kernel (2,048), so that partial results are merged.
    const [tokens, blockSize] = [2200, 16];
    const qkv = random(tokens * row, 5);
    const [whole] = attend(addon!, qkv, Int32Array.of(0, tokens));
    const blocks = Math.ceil(tokens / blockSize);
    // Blocks in a scattered order, and a cache full of NaN where nothing was appended.
    const table = Int32Array.from({ length: blocks }, (_, i) => (i * 37 + 5) % (blocks + 3));
    expect(new Set(table).size).toBe(blocks);
    const cacheRows = (blocks + 3) * blockSize;
    const caches = [0, 1].map(() => new Float32Array(cacheRows * keyValue * dimension).fill(NaN));
    const slots = Int32Array.from(
      { length: tokens },
      (_, i) => table[Math.floor(i / blockSize)] * blockSize + (i % blockSize),
    );
    // Prefill in two pieces, then single tokens: around the edges of key blocks and of the segment.
    for (const [begin, end] of [
      [0, 130],
      [130, 2030],
      ...Array.from({ length: 60 }, (_, i) => [2030 + i, 2031 + i]),
      [2090, 2200],
    ]) {
      const piece = qkv.slice(begin * row, end * row);
      addon!.pagedCacheAppend(
        query,
        keyValue,
        dimension,
        1,
        end - begin,
        cacheRows,
        caches[0],
        caches[1],
        piece,
        slots.slice(begin, end),
      );
      const out = new Float32Array((end - begin) * outRow).fill(NaN);
      addon!.pagedAttention(
        query,
        keyValue,
        dimension,
        scale,
        end - begin,
        cacheRows,
        1,
        blocks,
        blockSize,
        piece,
        caches[0],
        caches[1],
        Int32Array.of(0, end - begin),
        Int32Array.of(end),
        table,
        out,
      );
      const same = Buffer.compare(bytesOf(out), bytesOf(whole.slice(begin * outRow, end * outRow)));
      expect(same, `tokens ${begin} to ${end}`).toBe(0);
    }
  });

  it.each(addon?.variants() ?? [])('%s: a step of many sequences gives each the bits it would get alone', (variant) => {
    addon!.setVariant(variant);
    const { query, keyValue, dimension } = heads;
    const [blockSize, maximumBlocks] = [8, 40];
    const lengths = [1, 8, 63, 64, 65, 130, 200, 320, 7, 90];
    const cacheRows = lengths.length * maximumBlocks * blockSize;
    const caches = [0, 1].map(() => new Float32Array(cacheRows * keyValue * dimension).fill(NaN));
    const tables = Int32Array.from(
      { length: lengths.length * maximumBlocks },
      (_, i) => (i * 7) % (lengths.length * maximumBlocks),
    );
    const lastRows = new Float32Array(lengths.length * row);
    const expected = lengths.map((length, sequence) => {
      const qkv = random(length * row, 100 + sequence);
      const table = tables.subarray(sequence * maximumBlocks, (sequence + 1) * maximumBlocks);
      const slots = Int32Array.from(
        { length },
        (_, i) => table[Math.floor(i / blockSize)] * blockSize + (i % blockSize),
      );
      const [keys, values] = caches;
      addon!.pagedCacheAppend(query, keyValue, dimension, 1, length, cacheRows, keys, values, qkv, slots);
      lastRows.set(qkv.subarray((length - 1) * row), sequence * row);
      return attend(addon!, qkv, Int32Array.of(0, length))[0].slice((length - 1) * outRow);
    });
    for (const threads of [1, 3]) {
      addon!.setThreadCount(threads);
      const out = new Float32Array(lengths.length * outRow).fill(NaN);
      addon!.pagedAttention(
        query,
        keyValue,
        dimension,
        scale,
        lengths.length,
        cacheRows,
        lengths.length,
        maximumBlocks,
        blockSize,
        lastRows,
        caches[0],
        caches[1],
        Int32Array.from({ length: lengths.length + 1 }, (_, i) => i),
        Int32Array.from(lengths),
        tables,
        out,
      );
      expected.forEach((one, sequence) => {
        const own = out.slice(sequence * outRow, (sequence + 1) * outRow);
        expect(Buffer.compare(bytesOf(own), bytesOf(one)), `sequence ${sequence}, ${threads} threads`).toBe(0);
      });
    }
  });
});

function bytesOf(array: Float32Array): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
