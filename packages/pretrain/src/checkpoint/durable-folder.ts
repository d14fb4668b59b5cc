/** Folders that appear under their final name only when whole: written under a temporary name, synced, renamed. */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

const temporarySuffix = '.tmp';

export interface FileRecord {
  bytes: number;
  sha256: string;
}

/** Runs `write` in a fresh folder beside `name`, then puts it there, where nothing may be yet; on failure nothing remains. */
export async function createFolderAtomic(
  parent: string,
  name: string,
  write: (temporaryFolder: string) => Promise<void>,
): Promise<string> {
  await mkdir(parent, { recursive: true });
  const temporary = join(parent, `.${name}.${process.pid}-${randomBytes(4).toString('hex')}${temporarySuffix}`);
  const final = join(parent, name);
  try {
    await mkdir(temporary);
    await write(temporary);
    for (const file of await readdir(temporary)) await syncPath(join(temporary, file));
    await syncPath(temporary);
    await rename(temporary, final);
    await syncPath(parent);
    return final;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** Removes what killed runs left half-written. */
export async function removeTemporaryFolders(parent: string): Promise<void> {
  for (const name of await listFolder(parent)) {
    if (name.startsWith('.') && name.endsWith(temporarySuffix))
      await rm(join(parent, name), { recursive: true, force: true });
  }
}

/** Sorted names; empty where the folder doesn't exist. */
export async function listFolder(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}

/** Size and hash of every file directly in the folder, streamed. */
export async function recordFiles(folder: string): Promise<Record<string, FileRecord>> {
  const records: Record<string, FileRecord> = {};
  for (const name of await listFolder(folder)) records[name] = await recordFile(join(folder, name));
  return records;
}

export async function recordFile(path: string): Promise<FileRecord> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return { bytes: (await stat(path)).size, sha256: hash.digest('hex') };
}

/** Makes a file's content or a folder's names durable. Where folders can't be opened (Windows) the rename must do. */
async function syncPath(path: string): Promise<void> {
  let handle;
  try {
    handle = await open(path, 'r');
    await handle.sync();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (!['EISDIR', 'EPERM', 'EINVAL', 'EACCES'].includes(code)) throw error;
  } finally {
    await handle?.close();
  }
}
