/**
 * Writes token shards one after the other. A shard's five files are written under temporary names, synced, renamed, and
 * then recorded in `progress/`; what is recorded is whole, and anything else is written again by a rerun.
 */
import { createHash, type Hash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { removeTemporaryFiles, syncFolder, writeFailure, writeFileAtomic } from '../atomic-file.js';
import { TokenizerError } from '../errors.js';
import {
  shardFileName,
  shardParts,
  shardSchema,
  type DomainStatistics,
  type ShardDescription,
  type ShardPart,
} from './manifest.js';

const progressFolder = 'progress';
const count = z.int().nonnegative();

export const recordSchema = z.strictObject({
  shard: shardSchema,
  /** Rows of the input used up by this shard and all before it. */
  rowsDone: count,
  /** Of those, rows without text. */
  emptyRows: count,
  /** All domains so far, in order of appearance. */
  domains: z.array(z.string()),
  statistics: z.record(z.string(), z.strictObject({ documents: count, tokens: count, bytes: count })),
  /** SHA-256 over the rows used up, for inputs that are not files. */
  rowsSha256: z.string().optional(),
});
export type ShardRecord = z.output<typeof recordSchema>;

/**
 * The finished shards of an earlier run with the same plan, after which a rerun continues.
 * @throws TokenizerError `RESUME_MISMATCH` when another plan has finished shards here; `CORRUPT_SHARDS`
 */
export async function openProgress(folder: string, planSha256: string): Promise<ShardRecord[]> {
  const planPath = join(folder, progressFolder, 'plan.sha256');
  const earlier = await readIfThere(planPath);
  const records: ShardRecord[] = [];
  for (;;) {
    const path = recordPath(folder, records.length);
    const text = await readIfThere(path);
    if (text === undefined) break;
    records.push(parseRecord(path, text));
  }
  if (earlier !== planSha256) {
    if (records.length > 0) {
      throw new TokenizerError(
        'RESUME_MISMATCH',
        `${folder} holds unfinished shards of another tokenizer, input or setting.`,
        { value: folder, remedy: 'Use the same arguments to continue, or remove the folder to start again.' },
      );
    }
    await writeFileAtomic(planPath, planSha256);
  }
  for (const { shard } of records) await checkSizes(folder, shard);
  await removeTemporaryFiles(folder);
  return records;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function parseRecord(path: string, text: string): ShardRecord {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new TokenizerError('CORRUPT_SHARDS', `${path} is no record of a finished shard.`, {
      value: path,
      cause: error,
      remedy: 'Remove the folder to start again.',
    });
  }
}

/** Removes the records once the manifest stands in their place. */
export async function closeProgress(folder: string): Promise<void> {
  await removeTemporaryFiles(folder);
  await rm(join(folder, progressFolder), { recursive: true, force: true });
}

function recordPath(folder: string, shard: number): string {
  return join(folder, progressFolder, `shard-${String(shard).padStart(5, '0')}.json`);
}

async function checkSizes(folder: string, shard: ShardDescription): Promise<void> {
  for (const part of shardParts) {
    const { name, size } = shard.files[part];
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (found?.size === size) continue;
    throw new TokenizerError(
      'CORRUPT_SHARDS',
      `${join(folder, name)} was finished with ${size} bytes and ${found === undefined ? 'is missing' : `has ${found.size}`}.`,
      { value: name, remedy: 'Remove the folder to start again.' },
    );
  }
}

interface PartFile {
  handle: FileHandle;
  path: string;
  hash: Hash;
  size: number;
}

/** One shard being written. */
export class ShardWriter {
  tokens = 0;
  documents = 0;
  readonly statistics = new Map<string, DomainStatistics>();
  private readonly folder: string;
  private readonly index: number;
  private readonly parts: Record<ShardPart, PartFile>;

  private constructor(folder: string, index: number, parts: Record<ShardPart, PartFile>) {
    this.folder = folder;
    this.index = index;
    this.parts = parts;
  }

  static async create(folder: string, index: number): Promise<ShardWriter> {
    await mkdir(folder, { recursive: true });
    const parts: Partial<Record<ShardPart, PartFile>> = {};
    for (const part of shardParts) {
      const path = join(folder, `${shardFileName(index, part)}.${process.pid}.tmp`);
      parts[part] = { handle: await open(path, 'w'), path, hash: createHash('sha256'), size: 0 };
    }
    const writer = new ShardWriter(folder, index, parts as Record<ShardPart, PartFile>);
    await writer.write('offsets', new BigUint64Array(1));
    return writer;
  }

  /** Appends whole documents; `domain` indexes the manifest's domains. */
  async append(documents: {
    tokens: Uint16Array | Uint32Array;
    tokenCounts: Uint32Array;
    quality: Float32Array;
    weight: Float32Array;
    domain: Uint8Array;
  }): Promise<void> {
    const { tokens, tokenCounts, quality, weight, domain } = documents;
    const offsets = new BigUint64Array(tokenCounts.length);
    for (const [i, size] of tokenCounts.entries()) {
      this.tokens += size;
      offsets[i] = BigInt(this.tokens);
    }
    this.documents += tokenCounts.length;
    await this.write('tokens', tokens);
    await this.write('offsets', offsets);
    await this.write('quality', quality);
    await this.write('weight', weight);
    await this.write('domain', domain);
  }

  addStatistics(domain: string, tokens: number, bytes: number): void {
    const entry = this.statistics.get(domain) ?? { documents: 0, tokens: 0, bytes: 0 };
    entry.documents++;
    entry.tokens += tokens;
    entry.bytes += bytes;
    this.statistics.set(domain, entry);
  }

  /** Syncs and renames the files, then records the shard. */
  async finish(record: Omit<ShardRecord, 'shard' | 'statistics'>): Promise<ShardRecord> {
    const files: Partial<ShardDescription['files']> = {};
    for (const part of shardParts) {
      const { handle, path, hash, size } = this.parts[part];
      const name = shardFileName(this.index, part);
      try {
        await handle.sync();
        await handle.close();
        await rename(path, join(this.folder, name));
      } catch (error) {
        throw writeFailure(join(this.folder, name), error);
      }
      files[part] = { name, size, sha256: hash.digest('hex') };
    }
    await syncFolder(this.folder);
    const whole: ShardRecord = {
      ...record,
      shard: { tokens: this.tokens, documents: this.documents, files: files as ShardDescription['files'] },
      statistics: Object.fromEntries(this.statistics),
    };
    await writeFileAtomic(recordPath(this.folder, this.index), JSON.stringify(whole));
    return whole;
  }

  /** Drops an unfinished shard. */
  async discard(): Promise<void> {
    for (const { handle, path } of Object.values(this.parts)) {
      await handle.close().catch(() => undefined);
      await rm(path, { force: true });
    }
  }

  private async write(part: ShardPart, data: ArrayBufferView): Promise<void> {
    const file = this.parts[part];
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    file.hash.update(bytes);
    try {
      for (let done = 0; done < bytes.length;) {
        const { bytesWritten } = await file.handle.write(bytes, done, bytes.length - done);
        done += bytesWritten;
      }
    } catch (error) {
      throw writeFailure(file.path, error);
    }
    file.size += bytes.length;
  }
}
