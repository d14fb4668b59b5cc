/**
 * Reading safetensors: one file, or a Hugging Face folder (`model.safetensors`, or shards with an index). All headers
 * are checked on opening; data go straight into the array that is returned (converted 4 MiB at a time where the file's
 * dtype is another), so memory never holds a tensor twice.
 */
import { open, readFile, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelError } from '../errors.js';
import { decodeFloat32, decodeInt32, dtypeBytes } from './dtypes.js';
import { readExactly, readHeader } from './header.js';
import { duplicateTopLevelKey } from './json-keys.js';
import type { SafetensorsDtype, SafetensorsEntry } from './types.js';

const chunkBytes = 4 * 2 ** 20;

export interface ReadInto<T> {
  /** Where to put the values; default: a new array of the tensor's size. */
  target?: T;
  /** First element of `target` to write; default 0. */
  at?: number;
}

export class SafetensorsFile {
  /** @internal use readSafetensors */
  constructor(
    /** Every tensor of the file, or of all shards. */
    readonly entries: ReadonlyMap<string, SafetensorsEntry>,
    /** The `__metadata__` of the file, or of the first shard. */
    readonly metadata: Readonly<Record<string, string>>,
    private readonly handles: ReadonlyMap<string, FileHandle>,
  ) {}

  /** Values as float32; F64, F16 and BF16 are converted. Throws where the dtype is not a float. */
  async readFloat32(name: string, into: ReadInto<Float32Array> = {}): Promise<Float32Array> {
    return this.readConverted(name, into, Float32Array, decodeFloat32);
  }

  /** Values as int32; throws where the dtype is a float or a value does not fit. */
  async readInt32(name: string, into: ReadInto<Int32Array> = {}): Promise<Int32Array> {
    return this.readConverted(name, into, Int32Array, decodeInt32);
  }

  /** The tensor's bytes as they lie in the file (little-endian, row-major). */
  async readBytes(name: string): Promise<Uint8Array> {
    const { file, offset, byteLength } = this.entry(name);
    const bytes = new Uint8Array(byteLength);
    await readExactly(this.handles.get(file)!, file, bytes, offset);
    return bytes;
  }

  async close(): Promise<void> {
    await Promise.all([...this.handles.values()].map((handle) => handle.close()));
  }

  private entry(name: string): SafetensorsEntry {
    const entry = this.entries.get(name);
    if (entry !== undefined) return entry;
    throw new ModelError('MISSING_TENSOR', `There is no tensor ${name} in ${[...this.handles.keys()].join(', ')}.`, {
      value: name,
      remedy: 'See `entries` for the names there are.',
    });
  }

  private async readConverted<T extends Float32Array | Int32Array>(
    name: string,
    { target, at = 0 }: ReadInto<T>,
    Type: new (length: number) => T,
    decode: (dtype: SafetensorsDtype, bytes: Uint8Array, target: T, at: number) => void,
  ): Promise<T> {
    const { file, dtype, offset, byteLength } = this.entry(name);
    const size = dtypeBytes[dtype];
    const count = byteLength / size;
    const result = target ?? new Type(at + count);
    if (result.length < at + count) {
      throw new ModelError(
        'SHAPE_MISMATCH',
        `${name} has ${count} values; the target has room for ${result.length - at}.`,
        {
          value: count,
          remedy: 'Pass a longer array.',
        },
      );
    }
    const handle = this.handles.get(file)!;
    if ((dtype === 'F32' && result instanceof Float32Array) || (dtype === 'I32' && result instanceof Int32Array)) {
      await readExactly(handle, file, new Uint8Array(result.buffer, result.byteOffset + at * 4, byteLength), offset);
      return result;
    }
    const buffer = new Uint8Array(Math.min(chunkBytes, byteLength));
    for (let done = 0; done < byteLength; done += chunkBytes) {
      const chunk = buffer.subarray(0, Math.min(chunkBytes, byteLength - done));
      await readExactly(handle, file, chunk, offset + done);
      decode(dtype, chunk, result, at + done / size);
    }
    return result;
  }
}

async function openFile(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r');
  } catch (cause) {
    throw new ModelError('FILE_NOT_FOUND', `${file} cannot be opened: ${(cause as Error).message}.`, {
      file,
      value: file,
      remedy: 'Check the path; a model folder holds model.safetensors, or shards with model.safetensors.index.json.',
      cause,
    });
  }
}

/** Shard of each tensor from an index, checked: plain file names, no duplicates. */
async function readIndex(folder: string, indexFile: string): Promise<Map<string, string>> {
  const text = await readFile(indexFile, 'utf8');
  const bad = (what: string, value: unknown): ModelError =>
    new ModelError('INVALID_CHECKPOINT', `${indexFile}: ${what}.`, {
      file: indexFile,
      value,
      remedy: 'Download or save the model again.',
    });
  let json: { weight_map?: unknown } | null;
  try {
    json = JSON.parse(text) as typeof json;
  } catch (cause) {
    throw bad(`not JSON (${(cause as Error).message})`, text.slice(0, 40));
  }
  const map = json?.weight_map;
  if (typeof map !== 'object' || map === null) throw bad('weight_map is missing', map);
  const mapText = /"weight_map"\s*:\s*(\{[^{}]*\})/.exec(text)?.[1];
  const duplicate = mapText === undefined ? undefined : duplicateTopLevelKey(mapText);
  if (duplicate !== undefined) throw bad(`weight_map names ${duplicate} twice`, duplicate);
  return new Map(
    Object.entries(map as Record<string, unknown>).map(([name, shard]) => {
      if (typeof shard !== 'string' || !/^[^/\\]+\.safetensors$/.test(shard)) {
        throw bad(`weight_map sends ${name} to ${JSON.stringify(shard)}, not to a file beside it`, shard);
      }
      return [name, join(folder, shard)];
    }),
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Opens a safetensors file, an index, or a folder that holds either, and checks every header before any data is
 * read. Call `close()` when done. Throws ModelError FILE_NOT_FOUND, TRUNCATED_FILE, INVALID_SAFETENSORS or
 * INVALID_CHECKPOINT, with `file` and, inside a file, `offset`.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const indexFile = isFolder ? join(path, 'model.safetensors.index.json') : path;
  const byIndex = indexFile.endsWith('.index.json') && (await exists(indexFile));
  const weightMap = byIndex ? await readIndex(isFolder ? path : join(path, '..'), indexFile) : undefined;
  const files = weightMap ? [...new Set(weightMap.values())] : [isFolder ? join(path, 'model.safetensors') : path];
  const handles = new Map<string, FileHandle>();
  const entries = new Map<string, SafetensorsEntry>();
  let metadata: Record<string, string> | undefined;
  try {
    for (const file of files) {
      const handle = await openFile(file);
      handles.set(file, handle);
      const header = await readHeader(handle, file);
      metadata ??= header.metadata;
      for (const [name, entry] of header.entries) {
        if (weightMap !== undefined && weightMap.get(name) !== file) {
          throw new ModelError('INVALID_CHECKPOINT', `${file} holds ${name}, which ${indexFile} places elsewhere.`, {
            file,
            value: name,
            remedy: 'The shards and the index belong to different saves: download or save the model again.',
          });
        }
        entries.set(name, entry);
      }
    }
    for (const [name, file] of weightMap ?? []) {
      if (!entries.has(name)) {
        throw new ModelError('INVALID_CHECKPOINT', `${indexFile} places ${name} in ${file}, which lacks it.`, {
          file,
          value: name,
          remedy: 'The shards and the index belong to different saves: download or save the model again.',
        });
      }
    }
  } catch (error) {
    await Promise.all([...handles.values()].map((handle) => handle.close()));
    throw error;
  }
  return new SafetensorsFile(entries, metadata ?? {}, handles);
}
