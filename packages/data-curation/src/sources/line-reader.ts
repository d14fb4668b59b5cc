/**
 * Lines of a file as bytes, plain or compressed, with a limit on the length of a line: a longer one is reported and skipped
 * without being held. What stands before damage in a compressed file is delivered. Memory: one line and one decompressed chunk.
 */

import { createHash } from 'node:crypto';
import type { Compression } from './decompress.js';
import { DamagedFile, decompressed, UnreadableFile } from './decompress.js';

export type LineEvent =
  | { kind: 'line'; number: number; bytes: Buffer }
  | { kind: 'long'; number: number; length: number }
  /** `number` is of the first line that is lost; undefined when the file cannot be read at all. */
  | { kind: 'damage'; reason: string; number: number | undefined }
  /** Not for a file that the file system did not give to its end. */
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
  let damage: DamagedFile | undefined;
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
    damage = error;
  }
  if (damage instanceof UnreadableFile) {
    yield { kind: 'damage', reason: damage.message, number: total === 0 ? undefined : number + 1 };
    return;
  }
  if (damage !== undefined) yield { kind: 'damage', reason: damage.message, number: number + 1 };
  // The last line of an undamaged file needs no line feed; of a damaged one it is cut off.
  else if (pendingLength > 0) yield takeLine();
  yield { kind: 'end', bytes: total, sha256: hash.digest('hex') };

  function add(piece: Buffer): void {
    pendingLength += piece.length;
    if (pendingLength <= maximum) pending.push(piece);
    else pending = [];
  }
}
