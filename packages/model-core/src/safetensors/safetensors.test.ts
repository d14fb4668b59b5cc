import { execFileSync } from 'node:child_process';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { f32, safetensorsBytes, withHeader } from '../../test/support/safetensors-bytes.js';
import { temporaryFolder } from '../../test/support/temporary-folder.js';
import { ModelError } from '../errors.js';
import { readSafetensors } from './read-safetensors.js';
import type { SafetensorsSource } from './types.js';
import { writeSafetensors } from './write-safetensors.js';

const folder = temporaryFolder();

async function errorOf(run: () => Promise<unknown>): Promise<ModelError> {
  try {
    await run();
  } catch (error) {
    if (ModelError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

async function opened<T>(
  path: string,
  use: (file: Awaited<ReturnType<typeof readSafetensors>>) => Promise<T>,
): Promise<T> {
  const file = await readSafetensors(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

const words = (...values: number[]): Uint8Array => {
  const bytes = Buffer.alloc(values.length * 2);
  values.forEach((value, i) => bytes.writeUInt16LE(value, i * 2));
  return bytes;
};

describe('readSafetensors', () => {
  it('reads every dtype from bytes of the format’s description', async () => {
    const long = Buffer.alloc(16);
    long.writeBigInt64LE(-5n, 0);
    long.writeBigInt64LE(2n ** 31n - 1n, 8);
    const double = Buffer.alloc(8);
    double.writeDoubleLE(0.1);
    const bytes = safetensorsBytes(
      [
        { name: 'f32', dtype: 'F32', shape: [2, 2], bytes: f32(1, -2.5, 3e-38, 0.1) },
        // 1, −2, smallest subnormal, largest, infinity, 1/3
        { name: 'f16', dtype: 'F16', shape: [6], bytes: words(0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x3555) },
        { name: 'bf16', dtype: 'BF16', shape: [3], bytes: words(0x3f80, 0xc040, 0x4049) },
        { name: 'f64', dtype: 'F64', shape: [1], bytes: double },
        { name: 'i64', dtype: 'I64', shape: [2], bytes: long },
        { name: 'i32', dtype: 'I32', shape: [1], bytes: Buffer.from([0xfe, 0xff, 0xff, 0xff]) },
        { name: 'u8', dtype: 'U8', shape: [3], bytes: Buffer.from([0, 128, 255]) },
        { name: 'scalar', dtype: 'F32', shape: [], bytes: f32(7) },
        { name: 'empty', dtype: 'F32', shape: [0, 4], bytes: new Uint8Array() },
      ],
      (header) => ({ __metadata__: { format: 'pt', note: 'ü' }, ...header }),
    );
    await writeFile(folder('all.safetensors'), bytes);
    await opened(folder('all.safetensors'), async (file) => {
      expect(file.metadata).toEqual({ format: 'pt', note: 'ü' });
      expect(file.entries.get('f32')).toMatchObject({ dtype: 'F32', shape: [2, 2], byteLength: 16 });
      expect(await file.readFloat32('f32')).toEqual(Float32Array.of(1, -2.5, 3e-38, 0.1));
      expect(Array.from(await file.readFloat32('f16'))).toEqual([1, -2, 2 ** -24, 65504, Infinity, 0.333251953125]);
      expect(Array.from(await file.readFloat32('bf16'))).toEqual([1, -3, 3.140625]);
      expect(await file.readFloat32('f64')).toEqual(Float32Array.of(0.1));
      expect(await file.readInt32('i64')).toEqual(Int32Array.of(-5, 2 ** 31 - 1));
      expect(await file.readInt32('i32')).toEqual(Int32Array.of(-2));
      expect(await file.readInt32('u8')).toEqual(Int32Array.of(0, 128, 255));
      expect(await file.readFloat32('scalar')).toEqual(Float32Array.of(7));
      expect(await file.readFloat32('empty')).toHaveLength(0);
      expect(Buffer.from(await file.readBytes('f16'))).toEqual(
        Buffer.from(words(0x3c00, 0xc000, 1, 0x7bff, 0x7c00, 0x3555)),
      );
      const target = new Float32Array(6).fill(9);
      await file.readFloat32('f32', { target, at: 1 });
      expect(Array.from(target)).toEqual([9, 1, -2.5, Math.fround(3e-38), Math.fround(0.1), 9]);
      expect((await errorOf(() => file.readFloat32('f32', { target, at: 3 }))).code).toBe('SHAPE_MISMATCH');
      expect((await errorOf(() => file.readFloat32('u8'))).message).toMatch(/U8 tensor was asked for as float32/);
      expect((await errorOf(() => file.readInt32('f32'))).message).toMatch(/F32 tensor was asked for as int32/);
      expect((await errorOf(() => file.readFloat32('none'))).code).toBe('MISSING_TENSOR');
    });
  });

  it('names an integer that does not fit', async () => {
    const long = Buffer.alloc(8);
    long.writeBigInt64LE(2n ** 31n);
    await writeFile(
      folder('long.safetensors'),
      safetensorsBytes([{ name: 'x', dtype: 'I64', shape: [1], bytes: long }]),
    );
    const error = await opened(folder('long.safetensors'), (file) => errorOf(() => file.readInt32('x')));
    expect(error.message).toMatch(/2147483648 does not fit/);
  });

  const two = [
    { name: 'a', dtype: 'F32', shape: [2], bytes: f32(1, 2) },
    { name: 'b', dtype: 'F32', shape: [1], bytes: f32(3) },
  ];
  it.each<[string, Buffer, string, RegExp]>([
    ['nothing', Buffer.alloc(0), 'TRUNCATED_FILE', /only 0 bytes/],
    ['half a length', Buffer.alloc(5), 'TRUNCATED_FILE', /only 5 bytes/],
    ['a header cut short', safetensorsBytes(two).subarray(0, 40), 'TRUNCATED_FILE', /file ends at 40/],
    ['data cut short', safetensorsBytes(two).subarray(0, -1), 'TRUNCATED_FILE', /tensor b should end at byte/],
    ['an absurd header length', Buffer.alloc(64, 0x7f), 'INVALID_SAFETENSORS', /exceeds the format's 100000000/],
    ['no JSON', withHeader('{"a": '), 'INVALID_SAFETENSORS', /not JSON/],
    ['broken UTF-8', withHeader('{}', Buffer.alloc(0)).fill(0xff, 8), 'INVALID_SAFETENSORS', /not JSON/],
    ['an array', withHeader('[]'), 'INVALID_SAFETENSORS', /not a JSON object/],
    ['a space first', withHeader(' {}'), 'INVALID_SAFETENSORS', /not a JSON object/],
    [
      'a name twice',
      safetensorsBytes(two, (h) => `{"a":${JSON.stringify(h.a)},"\\u0061":${JSON.stringify(h.a)}}`),
      'INVALID_SAFETENSORS',
      /names a twice/,
    ],
    [
      'an unknown dtype',
      safetensorsBytes(two, (h) => ({ ...h, a: { ...h.a, dtype: 'F8_E4M3' } })),
      'INVALID_SAFETENSORS',
      /dtype "F8_E4M3"/,
    ],
    [
      'a dtype that is a method of objects',
      safetensorsBytes(two, (h) => ({ ...h, a: { ...h.a, dtype: 'constructor' } })),
      'INVALID_SAFETENSORS',
      /dtype "constructor"/,
    ],
    [
      'a negative size',
      safetensorsBytes(two, (h) => ({ ...h, a: { ...h.a, shape: [-2] } })),
      'INVALID_SAFETENSORS',
      /shape \[-2\]/,
    ],
    [
      'a shape that lies',
      safetensorsBytes(two, (h) => ({ ...h, a: { ...h.a, shape: [3] } })),
      'INVALID_SAFETENSORS',
      /needs 12 bytes, its data_offsets give 8/,
    ],
    [
      'offsets backwards',
      safetensorsBytes(two, (h) => ({ ...h, a: { ...h.a, data_offsets: [8, 0] } })),
      'INVALID_SAFETENSORS',
      /data_offsets \[8,0\]/,
    ],
    [
      'offsets beyond the end',
      safetensorsBytes(two, (h) => ({ ...h, b: { ...h.b, data_offsets: [1000, 1004] } })),
      'TRUNCATED_FILE',
      /tensor b should end/,
    ],
    [
      'overlap',
      safetensorsBytes(two, (h) => ({ ...h, b: { ...h.b, data_offsets: [4, 8] } })),
      'INVALID_SAFETENSORS',
      /tensor b overlaps tensor a/,
    ],
    [
      'a hole',
      safetensorsBytes([...two, two[0]], (h) => ({ b: { ...h.b, data_offsets: [12, 16] } })),
      'INVALID_SAFETENSORS',
      /a hole lies between the header and tensor b/,
    ],
    [
      'bytes after the end',
      Buffer.concat([safetensorsBytes(two), Buffer.of(1)]),
      'INVALID_SAFETENSORS',
      /1 bytes follow/,
    ],
    [
      'an unknown field',
      safetensorsBytes(two, (h) => ({ ...h, a: { ...h.a, strides: [1] } })),
      'INVALID_SAFETENSORS',
      /unknown field strides/,
    ],
    [
      'metadata that is not text',
      safetensorsBytes(two, (h) => ({ __metadata__: { n: 1 }, ...h })),
      'INVALID_SAFETENSORS',
      /__metadata__/,
    ],
  ])('refuses %s', async (_, bytes, code, message) => {
    const file = folder('bad.safetensors');
    await writeFile(file, bytes);
    const error = await errorOf(() => readSafetensors(file));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.file).toBe(file);
    expect(error.offset).toBeTypeOf('number');
    expect(error.remedy).toBeTruthy();
  });

  it('names a file that shrank after it was opened', async () => {
    const file = folder('shrinks.safetensors');
    await writeFile(file, safetensorsBytes(two));
    await opened(file, async (open) => {
      await truncate(file, 8 + open.entries.get('a')!.offset - 8 + 4);
      const error = await errorOf(() => open.readFloat32('a'));
      expect(error).toMatchObject({ code: 'TRUNCATED_FILE', file, offset: open.entries.get('a')!.offset + 4 });
    });
  });

  it('says what is missing', async () => {
    const error = await errorOf(() => readSafetensors(folder('absent')));
    expect(error).toMatchObject({ code: 'FILE_NOT_FOUND', file: folder('absent') });
  });
});

describe('writeSafetensors', () => {
  const source = (name: string, dtype: SafetensorsSource['dtype'], data: Float32Array, shape = [data.length]) => ({
    name,
    dtype,
    shape,
    data: () => data,
  });

  it('writes the bytes of the format’s description, wider elements first', async () => {
    const file = folder('written.safetensors');
    const written = await writeSafetensors(file, [
      { name: 'bytes', dtype: 'U8', shape: [3], data: () => Uint8Array.of(1, 2, 3) },
      source('m', 'F32', Float32Array.of(1, 2, 3, 4), [2, 2]),
      { name: '7', dtype: 'I64', shape: [1], data: () => BigInt64Array.of(-1n) },
    ]);
    const bytes = await readFile(file);
    const headerLength = Number(bytes.readBigUInt64LE());
    expect(headerLength % 8).toBe(0);
    expect(JSON.parse(bytes.subarray(8, 8 + headerLength).toString())).toEqual({
      __metadata__: { format: 'pt' },
      '7': { dtype: 'I64', shape: [1], data_offsets: [0, 8] },
      m: { dtype: 'F32', shape: [2, 2], data_offsets: [8, 24] },
      bytes: { dtype: 'U8', shape: [3], data_offsets: [24, 27] },
    });
    const data = Buffer.concat([Buffer.alloc(8, 0xff), f32(1, 2, 3, 4), Buffer.of(1, 2, 3)]);
    expect(bytes.subarray(8 + headerLength)).toEqual(data);
    expect(written).toEqual({ byteLength: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
  });

  it('rounds to bfloat16 and float16 to the nearest, ties to even', async () => {
    const file = folder('rounded.safetensors');
    // Every half-precision value, and for each neighbour pair the midpoint and a hair to either side.
    const halves = Float32Array.from({ length: 0x7c00 }, (_, bits) => {
      const exponent = bits >> 10;
      return exponent === 0 ? (bits & 1023) * 2 ** -24 : (1 + (bits & 1023) / 1024) * 2 ** (exponent - 15);
    });
    const inputs: number[] = [];
    const expected: number[] = [];
    for (let bits = 0; bits + 1 < halves.length; bits++) {
      const middle = (halves[bits] + halves[bits + 1]) / 2;
      const even = halves[bits % 2 === 0 ? bits : bits + 1];
      const below = Math.fround(middle * (1 - 2 ** -22));
      const above = Math.fround(middle * (1 + 2 ** -22));
      inputs.push(halves[bits], below, middle, above, -middle);
      expected.push(halves[bits], halves[bits], even, halves[bits + 1], -even);
    }
    inputs.push(65504, 65519.996, 65520, 1e30, -Infinity, NaN, -0);
    expected.push(65504, 65504, Infinity, Infinity, -Infinity, NaN, -0);
    // bfloat16: 1 + 2^-8 is the midpoint above 1; 1 + 3·2^-8 the one above 1 + 2^-7.
    const bfInputs = [1, 1 + 2 ** -8, 1 + 2 ** -8 + 2 ** -20, 1 + 3 * 2 ** -8, -1 - 2 ** -8, 3.39e38, 3.4e38, NaN];
    const bfExpected = [1, 1, 1 + 2 ** -7, 1 + 2 ** -6, -1, 2 ** 128 * (1 - 2 ** -8), Infinity, NaN];
    await writeSafetensors(file, [
      source('half', 'F16', Float32Array.from(inputs)),
      source('bf', 'BF16', Float32Array.from(bfInputs)),
    ]);
    await opened(file, async (open) => {
      const half = await open.readFloat32('half');
      expected.forEach((value, i) => {
        if (!Object.is(half[i], value)) throw new Error(`${inputs[i]} became ${half[i]}, not ${value}`);
      });
      expect(Array.from(await open.readFloat32('bf'))).toEqual(bfExpected);
    });
  });

  it('streams tensors larger than a chunk', async () => {
    const file = folder('large.safetensors');
    const values = Float32Array.from({ length: 2 ** 21 + 3 }, (_, i) => i % 4096);
    await writeSafetensors(file, [source('x', 'F32', values), source('h', 'BF16', values)]);
    await opened(file, async (open) => {
      expect(Buffer.compare(await open.readBytes('x'), Buffer.from(values.buffer))).toBe(0);
      const back = await open.readFloat32('h');
      expect(back[2 ** 20 + 1]).toBe(1);
      expect(back.at(-1)).toBe(2);
    });
  });

  it('leaves nothing behind when it fails, and the old file in place', async () => {
    const file = folder('kept.safetensors');
    await writeSafetensors(file, [source('x', 'F32', Float32Array.of(1))]);
    const before = await readFile(file);
    const listing = await readdir(folder());
    const broken = { ...source('x', 'F32', Float32Array.of(1)), data: () => Promise.reject(new Error('device lost')) };
    expect((await errorOf(() => writeSafetensors(file, [broken]))).message).toMatch(/device lost/);
    expect((await errorOf(() => writeSafetensors(file, [source('x', 'F32', Float32Array.of(1), [2])]))).code).toBe(
      'SHAPE_MISMATCH',
    );
    expect((await errorOf(() => writeSafetensors(file, [source('x', 'I32', Float32Array.of(1))]))).message).toMatch(
      /Float32Array cannot be written as I32/,
    );
    const aborted = await errorOf(() =>
      writeSafetensors(file, [source('x', 'F32', Float32Array.of(1))], { signal: AbortSignal.abort() }),
    );
    expect(aborted.code).toBe('ABORTED');
    const twice = [source('x', 'F32', Float32Array.of(1)), source('x', 'F32', Float32Array.of(1))];
    expect((await errorOf(() => writeSafetensors(file, twice))).code).toBe('INVALID_ARGUMENT');
    expect((await errorOf(() => writeSafetensors(folder('none/x'), twice.slice(1)))).message).toMatch(
      /Create the folder/,
    );
    expect(await readFile(file)).toEqual(before);
    expect(await readdir(folder())).toEqual(listing);
  });

  it('names a write that the system refuses, and leaves nothing behind', async () => {
    // A limit on file sizes stands for a full disk: the write fails half-way with an error of the system.
    const script = `
      ulimit -f 1
      exec "${process.execPath}" --input-type=module -e '
        process.on("SIGXFSZ", () => {});
        const { writeFileAtomic } = await import(process.argv[1]);
        try { await writeFileAtomic(process.argv[2], new Uint8Array(1 << 20)); console.log("written"); }
        catch (error) { console.log(error.code, error.cause.code); }
      ' "$0" "$1"`;
    const dist = new URL('../../dist/index.js', import.meta.url).href;
    const output = execFileSync('sh', ['-c', script, dist, folder('limited')], { encoding: 'utf8' });
    expect(output.trim().split('\n').at(-1)).toBe('WRITE_FAILED EFBIG');
    expect((await readdir(folder())).filter((name) => name.includes('limited'))).toEqual([]);
  });
});
