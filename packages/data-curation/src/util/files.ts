/** Files that appear under their final name only when whole, and their hashes. */

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

const temporarySuffix = '.partial';
const writeAttempts = 3;

/** Writes, fsyncs and renames; the folder has to exist. */
export async function writeFileWhole(path: string, content: string | Uint8Array): Promise<void> {
  await produceFile(path, (temporary) => writeFile(temporary, content));
}

/**
 * Lets `write` fill a temporary file beside `path`, then fsyncs and renames it. The temporary name is random, since on a shared
 * folder two machines may have the same process id. The folder has to exist: a process that outlived its run, whose folder was
 * removed, must fail here and not bring the folder back.
 */
export async function produceFile(path: string, write: (temporaryPath: string) => Promise<void>): Promise<void> {
  await againIfRemoved(async () => {
    const temporary = `${path}.${randomBytes(6).toString('hex')}${temporarySuffix}`;
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
  });
}

/** A process that tidies up may take the temporary file of another for a leftover: then it is written again, some times at most. */
export async function againIfRemoved<T>(write: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === writeAttempts) throw error;
    }
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
