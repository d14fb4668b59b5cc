/**
 * Writing safetensors: one tensor in memory at a time, converted 1 Mi elements at a time; the file appears under its
 * name only when whole. `writeShardedSafetensors` splits by size and returns the index, which its caller writes last.
 */
import { createHash } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ModelError } from '../errors.js';
import { syncFolder, temporaryName, writeError } from '../util/write-file-atomic.js';
import { dtypeBytes, encode } from './dtypes.js';
import type { SafetensorsSource } from './types.js';

const chunkElements = 2 ** 20;

export interface WriteSafetensorsOptions {
  /** `__metadata__`; default {format: 'pt'}, without which transformers refuses the file. */
  metadata?: Record<string, string>;
  signal?: AbortSignal;
  /** Called after each tensor. */
  onTensor?: (name: string, byteLength: number) => void;
}

export interface WrittenFile {
  byteLength: number;
  sha256: string;
}

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Bytes of a tensor's data in the file. */
export function sourceBytes({ dtype, shape }: SafetensorsSource): number {
  return elements(shape) * dtypeBytes[dtype];
}

function headerBytes(tensors: readonly SafetensorsSource[], metadata: Record<string, string>): Buffer {
  const header: [string, unknown][] = [['__metadata__', metadata]];
  const names = new Set(['__metadata__']);
  let offset = 0;
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    if (names.has(name) || !shape.every((n) => Number.isSafeInteger(n) && n >= 0)) {
      throw new ModelError('INVALID_ARGUMENT', `Tensor ${name} [${shape.join(', ')}] cannot be written.`, {
        value: name,
        remedy: 'Names must be unique and not __metadata__, sizes whole numbers.',
      });
    }
    names.add(name);
    const end = offset + sourceBytes(tensor);
    header.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  // Built by hand: an object would move names like "0" to the front.
  const text = `{${header.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
  const json = Buffer.from(text, 'utf8');
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}

async function writeTo(
  handle: FileHandle,
  tensors: readonly SafetensorsSource[],
  { metadata = { format: 'pt' }, signal, onTensor }: WriteSafetensorsOptions,
): Promise<WrittenFile> {
  const hash = createHash('sha256');
  let byteLength = 0;
  const write = async (bytes: Uint8Array): Promise<void> => {
    hash.update(bytes);
    byteLength += bytes.length;
    for (let done = 0; done < bytes.length;) {
      done += (await handle.write(bytes, done, Math.min(bytes.length - done, 2 ** 30))).bytesWritten;
    }
  };
  await write(headerBytes(tensors, metadata));
  for (const tensor of tensors) {
    if (signal?.aborted) {
      throw new ModelError('ABORTED', 'Saving was interrupted; nothing under the final name was touched.', {
        remedy: 'Save again.',
        cause: signal.reason,
      });
    }
    const { name, dtype, shape } = tensor;
    const data = await tensor.data();
    const count = elements(shape);
    const raw = data instanceof Uint8Array;
    if ((raw ? data.length : data.length * dtypeBytes[dtype]) !== sourceBytes(tensor)) {
      throw new ModelError('SHAPE_MISMATCH', `Tensor ${name} [${shape.join(', ')}] came with ${data.length} values.`, {
        value: data.length,
        remedy: `${dtype} needs ${count} values, or ${sourceBytes(tensor)} raw bytes.`,
      });
    }
    for (let from = 0; from < count; from += chunkElements) {
      await write(encode(dtype, data, from, Math.min(from + chunkElements, count)));
    }
    onTensor?.(name, sourceBytes(tensor));
  }
  await handle.sync();
  return { byteLength, sha256: hash.digest('hex') };
}

/**
 * Writes one safetensors file, atomically. Tensors of wider elements come first, so that each is aligned to its
 * element. Throws ModelError WRITE_FAILED (disk full, …), ABORTED, SHAPE_MISMATCH or INVALID_ARGUMENT.
 */
export async function writeSafetensors(
  file: string,
  tensors: readonly SafetensorsSource[],
  options: WriteSafetensorsOptions = {},
): Promise<WrittenFile> {
  const ordered = [...tensors].sort((a, b) => dtypeBytes[b.dtype] - dtypeBytes[a.dtype]);
  const temporary = temporaryName(file);
  try {
    const handle = await open(temporary, 'wx');
    let written;
    try {
      written = await writeTo(handle, ordered, options);
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    await syncFolder(dirname(file));
    return written;
  } catch (error) {
    await rm(temporary, { force: true });
    throw ModelError.isInstance(error) ? error : writeError(file, error);
  }
}
