/**
 * Fetches the files of sources that name URLs. A file appears under its final name only when it is whole; an interrupted download goes on
 * where it stopped, if the server's file is still the same (ETag or Last-Modified). Cost: one request a file; memory: a few chunks.
 */

import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CurateOptions } from '../engine/types.js';
import { CurationError } from '../errors.js';
import type { CurationPlan } from '../plan/schema.js';
import { writeFileWhole } from '../util/files.js';

export type DownloadOptions = Pick<CurateOptions, 'signal' | 'onProgress' | 'downloadHeaders'>;

const attempts = 4;

export function downloadFolder(downloads: string, source: string): string {
  return join(downloads, source);
}

export async function downloadSources(plan: CurationPlan, downloads: string, options: DownloadOptions): Promise<void> {
  const wanted = plan.sources.flatMap((source) =>
    'urls' in source && source.urls !== undefined
      ? source.urls.map((url, index) => ({
          url,
          path: join(downloadFolder(downloads, source.name), fileName(url, index)),
        }))
      : [],
  );
  for (const [index, { url, path }] of wanted.entries()) {
    await download(url, path, options);
    options.onProgress?.({ task: 'download', completed: index + 1, total: wanted.length, unit: 'files', detail: url });
  }
}

/** Numbered, so that two URLs may end alike and the order is the plan's; nothing of the URL can lead out of the folder. */
function fileName(url: string, index: number): string {
  const name = basename(new URL(url).pathname)
    .replace(/[^\w.-]/g, '_')
    .slice(-120);
  return `${String(index).padStart(5, '0')}-${name}`;
}

async function download(url: string, path: string, options: DownloadOptions): Promise<void> {
  if ((await sizeOf(path)) !== undefined) return;
  await mkdir(join(path, '..'), { recursive: true });
  let failure: unknown;
  for (let attempt = 0; attempt < attempts; attempt++) {
    try {
      await fetchInto(url, path, options);
      return;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (CurationError.isInstance(error)) throw error;
      failure = error;
      await sleep(250 * 4 ** attempt, undefined, { signal: options.signal });
    }
  }
  throw new CurationError('DOWNLOAD_FAILED', `${url} could not be fetched in ${attempts} attempts.`, {
    value: url,
    remedy: 'Check the URL and the network, then run again to continue.',
    cause: failure,
  });
}

async function fetchInto(url: string, path: string, options: DownloadOptions): Promise<void> {
  const partial = `${path}.download`;
  const tag = await readFile(`${partial}.tag`, 'utf8').catch(() => undefined);
  const have = tag === undefined ? 0 : ((await sizeOf(partial)) ?? 0);
  const headers: Record<string, string> = { ...options.downloadHeaders?.(url), 'accept-encoding': 'identity' };
  if (tag !== undefined && have > 0) Object.assign(headers, { range: `bytes=${have}-`, 'if-range': tag });
  const response = await fetch(url, { headers, signal: options.signal });
  if (response.status >= 400 && response.status < 500 && response.status !== 408 && response.status !== 429) {
    throw new CurationError('DOWNLOAD_FAILED', `${url} answered ${response.status}.`, {
      value: url,
      remedy:
        response.status === 401 || response.status === 403 ? 'Give a token with downloadHeaders.' : 'Check the URL.',
    });
  }
  if (!response.ok || response.body === null) throw new Error(`HTTP status ${response.status}`);
  const continues = response.status === 206;
  const newTag = response.headers.get('etag') ?? response.headers.get('last-modified');
  if (!continues) {
    await rm(partial, { force: true });
    if (newTag === null) await rm(`${partial}.tag`, { force: true });
    else await writeFileWhole(`${partial}.tag`, newTag);
  }
  const body = Readable.fromWeb(response.body);
  await pipeline(body, createWriteStream(partial, { flags: continues ? 'a' : 'w', flush: true }), {
    signal: options.signal,
  });
  const length = response.headers.get('content-length');
  const expected = length === null ? undefined : Number(length) + (continues ? have : 0);
  const size = await sizeOf(partial);
  if (expected !== undefined && size !== expected) throw new Error(`${size} bytes arrived instead of ${expected}`);
  // The inventory remembers times; a download has none of its own.
  await utimes(partial, 0, 0);
  await rename(partial, path);
  await rm(`${partial}.tag`, { force: true });
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
}
