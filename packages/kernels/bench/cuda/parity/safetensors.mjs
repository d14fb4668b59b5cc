// Float32 tensors in a safetensors file, written and read one at a time: an eight-byte length, a JSON header, the data, all little endian.
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

/** Writes `tensors`, an iterable of { name, shape, values: Float32Array }, of which `shapes`, a list of [name, shape], says beforehand what comes. */
export function writeSafetensors(file, shapes, tensors) {
  const header = { __metadata__: { format: 'pt' } };
  let end = 0;
  for (const [name, shape] of shapes) {
    const begin = end;
    end += 4 * elements(shape);
    header[name] = { dtype: 'F32', shape, data_offsets: [begin, end] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const start = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ');
  start.writeBigUInt64LE(BigInt(start.length - 8));
  text.copy(start, 8);
  const descriptor = openSync(file, 'w');
  try {
    writeAll(descriptor, start);
    let written = 0;
    for (const { name, shape, values } of tensors) {
      const [expected] = shapes[written++] ?? [];
      if (name !== expected || values.length !== elements(shape))
        throw new Error(
          `${file}: ${name} [${shape}] with ${values.length} numbers comes where ${expected} was announced.`,
        );
      writeAll(descriptor, values);
    }
    if (written !== shapes.length) throw new Error(`${file}: ${written} of ${shapes.length} tensors came.`);
  } finally {
    closeSync(descriptor);
  }
}

/** Each tensor of a file in its order: { name, shape, values }. */
export function* readSafetensors(file) {
  const descriptor = openSync(file, 'r');
  try {
    const length = Number(readAll(descriptor, Buffer.alloc(8), 0).readBigUInt64LE());
    const header = JSON.parse(readAll(descriptor, Buffer.alloc(length), 8).toString());
    for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
      if (name === '__metadata__') continue;
      if (dtype !== 'F32') throw new Error(`${file}: ${name} is ${dtype}; this reader knows only F32.`);
      yield { name, shape, values: readAll(descriptor, new Float32Array(elements(shape)), 8 + length + offsets[0]) };
    }
  } finally {
    closeSync(descriptor);
  }
}

/** The bytes of a typed array to the end of a file, in pieces that one call takes. */
export function writeAll(descriptor, array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  for (let done = 0; done < bytes.length;)
    done += writeSync(descriptor, bytes, done, Math.min(bytes.length - done, 2 ** 30));
}

/** Fills a typed array from a file's byte `position`, and returns it. */
export function readAll(descriptor, array, position) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  for (let done = 0; done < bytes.length;) {
    const count = readSync(descriptor, bytes, done, Math.min(bytes.length - done, 2 ** 30), position + done);
    if (count === 0) throw new Error(`The file ends ${bytes.length - done} bytes too early.`);
    done += count;
  }
  return array;
}

function elements(shape) {
  return shape.reduce((product, axis) => product * axis, 1);
}
