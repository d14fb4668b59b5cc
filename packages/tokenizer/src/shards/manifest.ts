/**
 * The manifest of a folder of token shards, and the names of the files it speaks of.
 *
 * Per shard: `.tokens.bin` (uint16 LE when the vocabulary has at most 65,536 tokens, else uint32 LE; every document ends
 * with the end-of-text token), `.offsets.bin` (uint64 LE, documents + 1, in tokens), `.quality.bin` and `.weight.bin`
 * (float32 LE per document), `.domain.bin` (uint8 per document, an index into `domains`).
 */
import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { TokenizerError } from '../errors.js';

export const shardParts = ['tokens', 'offsets', 'quality', 'weight', 'domain'] as const;
export type ShardPart = (typeof shardParts)[number];

const count = z.int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const fileSchema = z.strictObject({ name: z.string().regex(/^shard-\d{5,}\.[a-z]+\.bin$/), size: count, sha256 });
const statisticsSchema = z.strictObject({
  documents: count,
  /** The end-of-text tokens included. */
  tokens: count,
  /** UTF-8 bytes of text. */
  bytes: count,
});

export const shardSchema = z.strictObject({
  tokens: count,
  documents: count,
  files: z.strictObject({
    tokens: fileSchema,
    offsets: fileSchema,
    quality: fileSchema,
    weight: fileSchema,
    domain: fileSchema,
  }),
});

export const manifestSchema = z.strictObject({
  formatVersion: z.literal(1),
  dtype: z.enum(['uint16', 'uint32']),
  tokenizerSha256: sha256,
  vocabularySize: z.int().positive(),
  endOfTextToken: count,
  domains: z.array(z.string()).max(256),
  documents: count,
  tokens: count,
  /** Rows without text, which became no document. */
  emptyRows: count,
  /** What was tokenized: settings and a fingerprint of the input. */
  planSha256: sha256,
  /** For input given as rows: digest of the rows. */
  rowsSha256: z.string().optional(),
  domainStatistics: z.record(
    z.string(),
    statisticsSchema.extend({
      /** UTF-8 bytes for each token of text, end-of-text tokens left out; 0 without tokens. */
      bytesPerToken: z.number().nonnegative(),
    }),
  ),
  shards: z.array(shardSchema),
});

export type ShardManifest = z.output<typeof manifestSchema>;
export type ShardDescription = z.output<typeof shardSchema>;
export type DomainStatistics = z.output<typeof statisticsSchema>;

export const manifestName = 'manifest.json';

export function shardFileName(shard: number, part: ShardPart): string {
  return `shard-${String(shard).padStart(5, '0')}.${part}.bin`;
}

/** Shards are read and written in the machine's own order, which must be the format's. */
export function requireLittleEndian(): void {
  if (endianness() === 'LE') return;
  throw new TokenizerError('INVALID_OPTIONS', 'This machine is big-endian.', {
    remedy: 'Token shards are little-endian; use a little-endian machine.',
  });
}

/**
 * Reads and checks a folder's manifest; the shard files are not opened.
 * @throws TokenizerError `FILE_NOT_FOUND` or `CORRUPT_SHARDS`
 */
export async function readManifest(folder: string): Promise<{ manifest: ShardManifest; text: string }> {
  const path = join(folder, manifestName);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new TokenizerError('FILE_NOT_FOUND', `Could not read ${path}: ${(error as Error).message}.`, {
      value: folder,
      cause: error,
      remedy: 'Give a folder that tokenizeCorpus has finished; run it again if it was interrupted.',
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw corruptShards(path, `it is not JSON (${(error as Error).message})`, error);
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) throw corruptShards(path, z.prettifyError(parsed.error).replaceAll('\n', '; '));
  checkTotals(parsed.data, path);
  return { manifest: parsed.data, text };
}

export function corruptShards(path: string, reason: string, cause?: unknown): TokenizerError {
  return new TokenizerError('CORRUPT_SHARDS', `${path} is damaged: ${reason}.`, {
    value: path,
    cause,
    remedy: 'Copy it again from where it was whole, or remove the folder and tokenize again.',
  });
}

function checkTotals(manifest: ShardManifest, path: string): void {
  const tokenBytes = manifest.dtype === 'uint16' ? 2 : 4;
  let tokens = 0;
  let documents = 0;
  for (const [index, shard] of manifest.shards.entries()) {
    tokens += shard.tokens;
    documents += shard.documents;
    const sizes = {
      tokens: shard.tokens * tokenBytes,
      offsets: (shard.documents + 1) * 8,
      quality: shard.documents * 4,
      weight: shard.documents * 4,
      domain: shard.documents,
    };
    for (const part of shardParts) {
      const { name, size } = shard.files[part];
      if (name !== shardFileName(index, part)) throw corruptShards(path, `shard ${index} names the file ${name}`);
      if (size !== sizes[part]) {
        throw corruptShards(path, `${name} should have ${sizes[part]} bytes by its counts and ${size} by its size`);
      }
    }
  }
  if (tokens !== manifest.tokens || documents !== manifest.documents) {
    throw corruptShards(path, 'its totals are not the sums of its shards');
  }
  if (manifest.vocabularySize > 65_536 && manifest.dtype === 'uint16') {
    throw corruptShards(path, `${manifest.vocabularySize} tokens do not fit uint16`);
  }
}
