/**
 * Files that appear under their final name only when whole: written beside it under a temporary name, synced to the
 * disk, renamed, and the folder synced. A crash leaves the old file or the new one, and perhaps a `.tmp` file.
 */
import { randomBytes } from 'node:crypto';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ModelError } from '../errors.js';

/** A name beside `path`, so that the rename stays on one file system; hidden, so that a listing of *.json misses it. */
export function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`);
}

/** Removes what processes that no longer run have left under temporary names of `path`. */
export async function removeStaleTemporaries(path: string): Promise<void> {
  const folder = dirname(path);
  const prefix = `.${basename(path)}.`;
  for (const name of await readdir(folder)) {
    const pid = name.startsWith(prefix) ? /^(\d+)-[0-9a-f]{8}\.tmp$/.exec(name.slice(prefix.length))?.[1] : undefined;
    if (pid !== undefined && !isRunning(Number(pid))) await rm(join(folder, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Makes renames in a folder durable. Where a folder cannot be opened (Windows) the rename's own order must do. */
export async function syncFolder(folder: string): Promise<void> {
  let handle;
  try {
    handle = await open(folder, 'r');
  } catch {
    return;
  }
  try {
    await handle.sync();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EISDIR' && code !== 'EPERM' && code !== 'EINVAL') throw error;
  } finally {
    await handle.close();
  }
}

/** A ModelError for a failed write, with the remedy that its cause suggests. */
export function writeError(path: string, cause: unknown): ModelError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const remedies: Record<string, string> = {
    ENOSPC: 'The disk is full: free space or choose another folder. Nothing under the final name was touched.',
    EDQUOT: 'The disk quota is used up: free space or choose another folder.',
    ENOENT: 'Create the folder first.',
    EACCES: 'Allow writing there or choose another folder.',
    EROFS: 'The file system is read-only: choose another folder.',
  };
  return new ModelError('WRITE_FAILED', `Writing ${path} failed: ${message}.`, {
    value: path,
    remedy: remedies[code ?? ''] ?? 'Check the disk and the folder.',
    cause,
  });
}

/** Writes all of `data` to `path` atomically. Throws ModelError WRITE_FAILED. */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = temporaryName(path);
  try {
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (cause) {
    await rm(temporary, { force: true });
    throw writeError(path, cause);
  }
}
