/**
 * The header of a safetensors file: 8 bytes of length (uint64), that many bytes of JSON, then the data. Everything
 * the format promises is checked before a byte of data is believed: known dtypes, shapes that match their byte
 * ranges, ranges that cover the data exactly once, no duplicate names.
 * Format: https://github.com/huggingface/safetensors#format
 */
import type { FileHandle } from 'node:fs/promises';
import { ModelError, type ModelErrorCode } from '../errors.js';
import { dtypeBytes } from './dtypes.js';
import { duplicateTopLevelKey } from './json-keys.js';
import type { SafetensorsDtype, SafetensorsEntry } from './types.js';

/** The reference implementation's bound on the header. */
const maximumHeaderBytes = 100_000_000;

export interface SafetensorsHeader {
  entries: Map<string, SafetensorsEntry>;
  metadata: Record<string, string>;
}

function bad(file: string, offset: number, what: string, value: unknown, code: ModelErrorCode = 'INVALID_SAFETENSORS') {
  return new ModelError(code, `${file}, byte ${offset}: ${what}.`, {
    file,
    offset,
    value,
    remedy: 'The file is damaged or was cut short: download or save it again.',
  });
}

export async function readExactly(handle: FileHandle, file: string, target: Uint8Array, offset: number): Promise<void> {
  let done = 0;
  while (done < target.length) {
    const { bytesRead } = await handle.read(target, done, Math.min(target.length - done, 2 ** 30), offset + done);
    if (bytesRead === 0) {
      const what = `the file ends ${target.length - done} bytes early`;
      throw bad(file, offset + done, what, target.length - done, 'TRUNCATED_FILE');
    }
    done += bytesRead;
  }
}

function stringMetadata(file: string, value: unknown): Record<string, string> {
  const ok = typeof value === 'object' && value !== null && Object.values(value).every((v) => typeof v === 'string');
  if (!ok || Array.isArray(value)) throw bad(file, 8, '__metadata__ is not an object of strings', value);
  return value as Record<string, string>;
}

function entry(file: string, name: string, value: unknown, dataStart: number, dataBytes: number): SafetensorsEntry {
  const { dtype, shape, data_offsets: range, ...rest } = (value ?? {}) as Record<string, unknown>;
  const extra = Object.keys(rest)[0];
  if (extra !== undefined) throw bad(file, 8, `tensor ${name} has an unknown field ${extra}`, extra);
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypeBytes, dtype)) {
    throw new ModelError('INVALID_SAFETENSORS', `${file}: tensor ${name} has dtype ${JSON.stringify(dtype)}.`, {
      file,
      offset: 8,
      value: dtype,
      remedy: `Known dtypes are ${Object.keys(dtypeBytes).join(', ')}: convert the file.`,
    });
  }
  const natural = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
  if (!natural(shape)) throw bad(file, 8, `tensor ${name} has shape ${JSON.stringify(shape)}`, shape);
  if (!natural(range) || range.length !== 2 || range[0] > range[1]) {
    throw bad(file, 8, `tensor ${name} has data_offsets ${JSON.stringify(range)}`, range);
  }
  const [begin, end] = range as [number, number];
  const bytes = shape.reduce((a, b) => a * b, dtypeBytes[dtype as SafetensorsDtype]);
  if (bytes !== end - begin) {
    const what = `tensor ${name} of ${dtype} [${shape.join(', ')}] needs ${bytes} bytes, its data_offsets give ${end - begin}`;
    throw bad(file, dataStart + begin, what, range);
  }
  if (end > dataBytes) {
    const what = `tensor ${name} should end at byte ${dataStart + end} but the file ends at ${dataStart + dataBytes}`;
    throw bad(file, dataStart + dataBytes, what, range, 'TRUNCATED_FILE');
  }
  return { name, dtype: dtype as SafetensorsDtype, shape, offset: dataStart + begin, byteLength: end - begin, file };
}

function checkCoverage(file: string, entries: Iterable<SafetensorsEntry>, dataStart: number, fileBytes: number): void {
  const ordered = [...entries].sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let position = dataStart;
  let previous = 'the header';
  for (const { name, offset, byteLength } of ordered) {
    if (offset < position) throw bad(file, offset, `tensor ${name} overlaps ${previous}`, offset);
    if (offset > position) throw bad(file, position, `a hole lies between ${previous} and tensor ${name}`, position);
    position += byteLength;
    previous = `tensor ${name}`;
  }
  if (position !== fileBytes) {
    throw bad(file, position, `${fileBytes - position} bytes follow the last tensor`, fileBytes - position);
  }
}

/** Reads and checks the header. Throws ModelError INVALID_SAFETENSORS or TRUNCATED_FILE with `file` and `offset`. */
export async function readHeader(handle: FileHandle, file: string): Promise<SafetensorsHeader> {
  const { size } = await handle.stat();
  if (size < 8) throw bad(file, size, `only ${size} bytes: no room for the header's length`, size, 'TRUNCATED_FILE');
  const lengthBytes = Buffer.alloc(8);
  await readExactly(handle, file, lengthBytes, 0);
  const length = Number(lengthBytes.readBigUInt64LE());
  if (length > maximumHeaderBytes) {
    throw bad(file, 0, `a header of ${length} bytes exceeds the format's ${maximumHeaderBytes}`, length);
  }
  if (8 + length > size) {
    const what = `the header should end at byte ${8 + length} but the file ends at ${size}`;
    throw bad(file, size, what, length, 'TRUNCATED_FILE');
  }
  const headerBytes = Buffer.alloc(length);
  await readExactly(handle, file, headerBytes, 8);
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(headerBytes);
    json = JSON.parse(text);
  } catch (cause) {
    throw bad(file, 8, `the header is not JSON (${(cause as Error).message})`, headerBytes.subarray(0, 40).toString());
  }
  if (!text.startsWith('{') || typeof json !== 'object' || json === null) {
    throw bad(file, 8, 'the header is not a JSON object', text.slice(0, 40));
  }
  const duplicate = duplicateTopLevelKey(text);
  if (duplicate !== undefined) throw bad(file, 8, `the header names ${duplicate} twice`, duplicate);
  const dataStart = 8 + length;
  const entries = new Map<string, SafetensorsEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = stringMetadata(file, value);
    else entries.set(name, entry(file, name, value, dataStart, size - dataStart));
  }
  checkCoverage(file, entries.values(), dataStart, size);
  return { entries, metadata };
}
