/**
 * The bytes of a file, decompressed on the way: gzip (also of several members) through zlib, Zstandard through `fzstd`, which does not
 * check Zstandard's optional checksum. What stands before damage is delivered, the same on every run: chunks have a fixed size
 * and are decompressed one after another. Memory: one chunk, and what it expands to.
 */

import { open } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import { ZstdFrames } from './zstd-frames.js';

const chunkBytes = 1 << 16;
const gzipChunkBytes = 1 << 14;
const zstdSliceBytes = 1 << 11;
/** What `zstd -d` allows by default. */
const maximumZstdWindow = 1 << 27;

export type Compression = 'none' | 'gzip' | 'zstd';

/** By the end of the file name. */
export function compressionOf(name: string): Compression {
  if (name.endsWith('.gz')) return 'gzip';
  return name.endsWith('.zst') || name.endsWith('.zstd') ? 'zstd' : 'none';
}

/** Thrown after everything before the damage was delivered. */
export class DamagedFile extends Error {}

/** The file system does not give the file, or not all of it. */
export class UnreadableFile extends DamagedFile {
  constructor(error: unknown) {
    super(`cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`);
  }
}

function unreadable(error: unknown): never {
  throw new UnreadableFile(error);
}

/** Takes compressed pieces, gives what they expand to. `push(undefined)` says that the file is at its end. */
interface Decompressor {
  push(raw: Buffer | undefined): AsyncIterable<Buffer>;
  readonly failure: string | undefined;
}

export async function* decompressed(
  path: string,
  compression: Compression,
  onRaw: (raw: Buffer) => void,
): AsyncGenerator<Buffer> {
  const handle = await open(path, 'r').catch(unreadable);
  try {
    const decompressor =
      compression === 'gzip' ? new GzipDecompressor() : compression === 'zstd' ? new ZstdDecompressor() : undefined;
    const length = compression === 'gzip' ? gzipChunkBytes : chunkBytes;
    for (;;) {
      const { bytesRead, buffer } = await handle.read({ buffer: Buffer.alloc(length), length }).catch(unreadable);
      const raw = buffer.subarray(0, bytesRead);
      if (bytesRead > 0) onRaw(raw);
      if (decompressor === undefined) {
        if (bytesRead === 0) return;
        yield raw;
        continue;
      }
      yield* decompressor.push(bytesRead === 0 ? undefined : raw);
      // After damage the rest is read only to be hashed.
      if (bytesRead === 0) {
        if (decompressor.failure !== undefined) {
          throw new DamagedFile(`damaged or truncated ${compression} (${decompressor.failure})`);
        }
        return;
      }
    }
  } finally {
    await handle.close();
  }
}

class GzipDecompressor implements Decompressor {
  readonly #gunzip = createGunzip();
  readonly #output: Buffer[] = [];
  #settle: () => void = () => undefined;
  failure: string | undefined;

  constructor() {
    this.#gunzip.on('data', (data: Buffer) => this.#output.push(data));
    this.#gunzip.on('end', () => this.#settle());
    this.#gunzip.on('error', (error: Error) => {
      this.failure ??= error.message;
      this.#settle();
    });
  }

  async *push(raw: Buffer | undefined): AsyncGenerator<Buffer> {
    if (this.failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#settle = resolve;
        if (raw === undefined) this.#gunzip.end();
        else this.#gunzip.write(raw, () => resolve());
      });
    }
    yield* this.#output.splice(0);
  }
}

class ZstdDecompressor implements Decompressor {
  readonly #output: Buffer[] = [];
  readonly #frames = new ZstdFrames(maximumZstdWindow);
  readonly #stream = new Decompress((data) => this.#output.push(Buffer.from(data)));
  failure: string | undefined;

  async *push(raw: Buffer | undefined): AsyncGenerator<Buffer> {
    for (let start = 0; this.failure === undefined; start += zstdSliceBytes) {
      try {
        if (raw === undefined) this.#stream.push(Buffer.alloc(0), true);
        else this.#take(raw.subarray(start, start + zstdSliceBytes));
      } catch (error) {
        this.failure = error instanceof Error ? error.message : String(error);
      }
      yield* this.#output.splice(0);
      if (raw === undefined || start + zstdSliceBytes >= raw.length) return;
    }
  }

  #take(slice: Buffer): void {
    this.#stream.push(slice.subarray(0, this.#frames.follow(slice)));
    this.failure = this.#frames.failure;
  }
}
