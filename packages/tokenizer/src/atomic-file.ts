/** Files that appear under their final name only when whole: written beside it, synced, renamed. */
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TokenizerError } from './errors.js';

let counter = 0;

export function temporaryName(path: string): string {
  return `${path}.${process.pid}-${counter++}.tmp`;
}

/** Removes what killed processes left under temporary names; call it only where no other process writes. */
export async function removeTemporaryFiles(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (/\.\d+(-\d+)?\.tmp$/.test(name)) await rm(join(folder, name), { force: true });
  }
}

/** Syncs a folder so that renames inside it survive a power cut; some platforms cannot open a folder, and need not. */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // Windows refuses to open folders; its renames are journalled.
  }
}

export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(temporary, 'w');
    try {
      await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw writeFailure(path, error);
  }
}

export function writeFailure(path: string, error: unknown): TokenizerError {
  return new TokenizerError('FILE_WRITE_FAILED', `Could not write ${path}: ${(error as Error).message}.`, {
    value: path,
    cause: error,
    remedy: 'Check free space and permissions, then run again: it continues after the last finished file.',
  });
}
