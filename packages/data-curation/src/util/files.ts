/** Files that appear under their final name only when whole, and their hashes. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import writeFileAtomicCallback from 'write-file-atomic';

const temporarySuffix = '.partial';

/** Writes, fsyncs and renames. */
export async function writeFileWhole(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomicCallback(path, typeof content === 'string' ? content : Buffer.from(content), { fsync: true });
}

/** Lets `write` fill a temporary file beside `path`, then fsyncs and renames it. */
export async function produceFile(path: string, write: (temporaryPath: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}${temporarySuffix}`;
  try {
    await write(temporary);
    const handle = await open(temporary, 'r+');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Removes what a killed process left half-written in a folder (not in its subfolders). */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch((): string[] => [])) {
    if (name.endsWith(temporarySuffix)) await rm(join(folder, name), { force: true });
  }
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

export function sha256OfText(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex');
}
