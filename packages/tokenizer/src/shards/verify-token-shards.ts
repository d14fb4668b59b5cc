/** Proves that a folder of token shards is whole: sizes, checksums, columns, token ranges, and document ends. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { TokenizerError } from '../errors.js';
import type { LongTaskOptions } from '../types.js';
import { corruptShards, shardParts, type ShardManifest } from './manifest.js';
import { TokenShardReader } from './token-shard-reader.js';

/**
 * Reads every byte once for its checksum and every token once for its meaning; memory as a TokenShardReader's.
 * @returns the manifest when all is well
 * @throws TokenizerError `CORRUPT_SHARDS` that names the first damaged file, `FILE_NOT_FOUND`, `ABORTED`
 */
export async function verifyTokenShards(folder: string, options: LongTaskOptions = {}): Promise<ShardManifest> {
  const reader = await TokenShardReader.open(folder, { cachedShards: 1 });
  try {
    const { manifest } = reader;
    const total = manifest.shards
      .flatMap((shard) => shardParts.map((part) => shard.files[part].size))
      .reduce((sum, size) => sum + size, 0);
    let completed = 0;
    for (const [index, shard] of manifest.shards.entries()) {
      for (const part of shardParts) {
        const { name, size, sha256 } = shard.files[part];
        const path = join(folder, name);
        const digest = await hashFile(path, size, options.signal);
        if (digest !== sha256) throw corruptShards(path, 'its SHA-256 is not the manifest’s');
        completed += size;
        options.onProgress?.({ task: 'verify', completed, total, unit: 'bytes', detail: name });
      }
      checkShard(reader, index);
    }
    return manifest;
  } finally {
    reader.close();
  }
}

async function hashFile(path: string, size: number, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  let read = 0;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      if (signal?.aborted === true) {
        throw new TokenizerError('ABORTED', 'Verification was stopped.', { cause: signal.reason });
      }
      hash.update(chunk as Buffer);
      read += (chunk as Buffer).length;
    }
  } catch (error) {
    if (TokenizerError.isInstance(error)) throw error;
    throw corruptShards(path, (error as Error).message, error);
  }
  if (read !== size) throw corruptShards(path, `it has ${read} bytes, not ${size}`);
  return hash.digest('hex');
}

/** Every token is in the vocabulary; the end-of-text token ends each document and stands nowhere else. */
function checkShard(reader: TokenShardReader, index: number): void {
  const { manifest, folder } = reader;
  const path = join(folder, manifest.shards[index].files.tokens.name);
  const { offsets } = reader.shardMetadata(index);
  const first = manifest.shards.slice(0, index).reduce((sum, shard) => sum + shard.documents, 0);
  for (let document = 0; document + 1 < offsets.length; document++) {
    const length = offsets[document + 1] - offsets[document];
    for (let start = 0; start < length; start += 1 << 20) {
      const tokens = reader.readTokens(first + document, start, Math.min(length, start + (1 << 20)));
      for (let i = 0; i < tokens.length; i++) {
        if (tokens[i] >= manifest.vocabularySize)
          throw corruptShards(path, `document ${document} has token ${tokens[i]}`);
        const last = start + i === length - 1;
        if ((tokens[i] === manifest.endOfTextToken) !== last) {
          throw corruptShards(
            path,
            `document ${document} of it ${last ? 'does not end with' : 'contains'} the end-of-text token`,
          );
        }
      }
    }
  }
}
