/**
 * Lines of a file as bytes, plain or gzip, with a limit on the length of a line: a longer one is reported and skipped without being held.
 * What stands before damage in a compressed file is delivered, the same on every run: chunks have a fixed size and are
 * decompressed one after another. Memory: one line and one decompressed chunk.
 */

import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';

const chunkBytes = 1 << 16;

export type Compression = 'none' | 'gzip';

/** By the end of the file name. */
export function compressionOf(name: string): Compression {
  return name.endsWith('.gz') ? 'gzip' : 'none';
}

export type LineEvent =
  | { kind: 'line'; number: number; bytes: Buffer }
  | { kind: 'long'; number: number; length: number }
  | { kind: 'damage'; reason: string }
  | { kind: 'end'; bytes: number; sha256: string };

export async function* readLines(path: string, compression: Compression, maximum: number): AsyncGenerator<LineEvent> {
  let number = 0;
  let pending: Buffer[] = [];
  let pendingLength = 0;
  const takeLine = (): LineEvent => {
    const length = pendingLength;
    const bytes = pending.length === 1 ? pending[0] : Buffer.concat(pending);
    pending = [];
    pendingLength = 0;
    number++;
    return length > maximum ? { kind: 'long', number, length } : { kind: 'line', number, bytes };
  };
  const hash = createHash('sha256');
  let total = 0;
  let damage: string | undefined;
  try {
    for await (const chunk of decompressed(path, compression, (raw) => {
      hash.update(raw);
      total += raw.length;
    })) {
      let start = 0;
      for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
        add(chunk.subarray(start, end));
        yield takeLine();
        start = end + 1;
      }
      if (start < chunk.length) add(chunk.subarray(start));
    }
  } catch (error) {
    if (!(error instanceof DamagedFile)) throw error;
    damage = error.message;
  }
  if (damage !== undefined) yield { kind: 'damage', reason: damage };
  // The last line of an undamaged file needs no line feed; of a damaged one it is cut off.
  else if (pendingLength > 0) yield takeLine();
  yield { kind: 'end', bytes: total, sha256: hash.digest('hex') };

  function add(piece: Buffer): void {
    pendingLength += piece.length;
    if (pendingLength <= maximum) pending.push(piece);
    else pending = [];
  }
}

class DamagedFile extends Error {}

async function* decompressed(
  path: string,
  compression: Compression,
  onRaw: (raw: Buffer) => void,
): AsyncGenerator<Buffer> {
  const handle = await open(path, 'r');
  try {
    const gunzip = compression === 'gzip' ? createGunzip() : undefined;
    const output: Buffer[] = [];
    let failure: Error | undefined;
    gunzip?.on('data', (data: Buffer) => output.push(data));
    gunzip?.on('error', (error: Error) => (failure = error));
    for (;;) {
      const { bytesRead, buffer } = await handle.read({ buffer: Buffer.alloc(chunkBytes), length: chunkBytes });
      const raw = buffer.subarray(0, bytesRead);
      if (bytesRead > 0) onRaw(raw);
      if (gunzip === undefined) {
        if (bytesRead === 0) return;
        yield raw;
        continue;
      }
      if (failure === undefined) {
        await new Promise<void>((resolve) => {
          gunzip.once('error', () => resolve());
          if (bytesRead === 0) gunzip.once('end', () => resolve()).end();
          else gunzip.write(raw, () => resolve());
        });
      }
      yield* output.splice(0);
      // After damage the rest is read only to be hashed.
      if (bytesRead === 0) {
        if (failure !== undefined) throw new DamagedFile(`damaged or truncated gzip (${failure.message})`);
        return;
      }
    }
  } finally {
    await handle.close();
  }
}
