/**
 * Walks a folder in a stable order (by UTF-16 code units of the names), never through symbolic links: each real file once, no
 * cycles. This is what pnpm's layout needs, where packages lie under `.pnpm` and everything else links to them.
 * Memory: the list of chosen files.
 */

import type { Dirent, Stats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import picomatch from 'picomatch';
import { CurationError } from '../errors.js';
import { compareStrings } from '../util/hash.js';
import type { InputFile } from './raw-document.js';

export interface WalkOptions {
  include: readonly string[];
  exclude: readonly string[];
  /** An absolute folder to leave out: the output must not read itself. */
  skipFolder?: string;
  signal?: AbortSignal;
}

/** `path` may be one file: then its folder is the root and the patterns do not apply. */
export async function listFiles(path: string, options: WalkOptions): Promise<{ root: string; files: InputFile[] }> {
  let found: Stats;
  try {
    found = await stat(path);
  } catch (error) {
    throw new CurationError('INPUT_NOT_FOUND', `The path ${path} cannot be read.`, {
      value: path,
      remedy: 'Check the path (in a plan: sources[].path).',
      cause: error,
    });
  }
  if (found.isFile()) {
    return {
      root: dirname(path),
      files: [{ path: basename(path), bytes: found.size, modified: Math.floor(found.mtimeMs) }],
    };
  }
  const isIncluded = picomatch([...options.include], { dot: true });
  const isExcluded = picomatch([...options.exclude], { dot: true });
  const files: InputFile[] = [];
  const visit = async (relative: string): Promise<void> => {
    options.signal?.throwIfAborted();
    let entries: Dirent[];
    try {
      entries = await readdir(join(path, relative), { withFileTypes: true });
    } catch (error) {
      throw new CurationError('INPUT_NOT_FOUND', `The folder ${join(path, relative)} cannot be listed.`, {
        value: relative,
        remedy: 'Check its permissions, or exclude it.',
        cause: error,
      });
    }
    entries.sort((a, b) => compareStrings(a.name, b.name));
    const chosen = entries
      .map((entry) => ({ entry, child: relative === '' ? entry.name : `${relative}/${entry.name}` }))
      .filter(({ child }) => !isExcluded(child));
    // Many at a time: on a cold disk, waiting for each alone is most of the work.
    const statuses = await Promise.all(
      chosen.map(async ({ entry, child }) =>
        // A file that is gone, or whose name is no valid UTF-8, stays in the list: whoever reads it names it.
        entry.isFile() && isIncluded(child)
          ? lstat(join(path, child)).catch(() => ({ size: 0, mtimeMs: 0 }))
          : undefined,
      ),
    );
    for (const [index, { entry, child }] of chosen.entries()) {
      const status = statuses[index];
      if (entry.isDirectory()) {
        if (options.skipFolder !== undefined && resolve(path, child) === options.skipFolder) continue;
        await visit(child);
      } else if (status !== undefined) {
        files.push({ path: child, bytes: status.size, modified: Math.floor(status.mtimeMs) });
      }
    }
  };
  await visit('');
  return { root: path, files };
}
