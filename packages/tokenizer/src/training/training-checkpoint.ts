/**
 * Word counts on disk, so that training continues after a kill: one file, written whole, that says which settings and how
 * many texts it covers, with a SHA-256 over those texts and over itself.
 *
 * Layout: 8 bytes `XGWORDS1`, uint32 LE header length, header (JSON), then counts (float64 LE), starts (float64 LE), bytes.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../atomic-file.js';
import { TokenizerError } from '../errors.js';
import type { WordCounts } from './word-counter.js';

const magic = 'XGWORDS1';
const fileName = 'word-counts.bin';

const headerSchema = z.strictObject({
  preTokenizer: z.string(),
  texts: z.int().nonnegative(),
  complete: z.boolean(),
  textsSha256: z.string(),
  words: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  bodySha256: z.string(),
});

export interface TrainingCheckpoint {
  preTokenizer: string;
  /** Texts counted so far. */
  texts: number;
  /** The texts had ended. */
  complete: boolean;
  textsSha256: string;
  words: WordCounts;
}

export async function writeTrainingCheckpoint(folder: string, checkpoint: TrainingCheckpoint): Promise<void> {
  const { words, ...rest } = checkpoint;
  const body = Buffer.concat([asBytes(words.counts), asBytes(words.starts), words.bytes]);
  const header = Buffer.from(
    JSON.stringify({
      ...rest,
      words: words.counts.length,
      bytes: words.bytes.length,
      bodySha256: createHash('sha256').update(body).digest('hex'),
    }),
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  await writeFileAtomic(join(folder, fileName), Buffer.concat([Buffer.from(magic), length, header, body]));
}

/** The checkpoint in a folder, undefined when there is none. */
export async function readTrainingCheckpoint(folder: string): Promise<TrainingCheckpoint | undefined> {
  const path = join(folder, fileName);
  let file: Buffer;
  try {
    file = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    if (file.toString('latin1', 0, 8) !== magic) throw new Error('it is another kind of file');
    const headerEnd = 12 + file.readUInt32LE(8);
    const header = headerSchema.parse(JSON.parse(file.toString('utf8', 12, headerEnd)));
    const body = file.subarray(headerEnd);
    if (createHash('sha256').update(body).digest('hex') !== header.bodySha256) throw new Error('its checksum differs');
    const counts = new Float64Array(copyBuffer(body, 0, header.words * 8));
    const starts = new Float64Array(copyBuffer(body, header.words * 8, (header.words + 1) * 8));
    const bytes = new Uint8Array(copyBuffer(body, (header.words * 2 + 1) * 8, header.bytes));
    const { preTokenizer, texts, complete, textsSha256 } = header;
    return { preTokenizer, texts, complete, textsSha256, words: { counts, starts, bytes } };
  } catch (error) {
    throw new TokenizerError('RESUME_MISMATCH', `The checkpoint ${path} cannot be used: ${(error as Error).message}.`, {
      value: path,
      cause: error,
      remedy: 'Remove it to start again.',
    });
  }
}

function asBytes(array: Float64Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function copyBuffer(body: Buffer, offset: number, length: number): ArrayBuffer {
  const copy = new Uint8Array(length);
  copy.set(body.subarray(offset, offset + length));
  return copy.buffer;
}
