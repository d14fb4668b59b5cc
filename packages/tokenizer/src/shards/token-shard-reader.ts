/**
 * Random access to token shards. Tokens stay on disk and are read by position; the per-document columns of the shards
 * used last are kept in memory (17 bytes a document, `cachedShards` shards).
 *
 * Reads are synchronous: a training loop asks for a few kilobytes at a time, which the page cache answers in microseconds.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { TokenizerError } from '../errors.js';
import type { Tokenizer } from '../tokenizer.js';
import { corruptShards, readManifest, requireLittleEndian, type ShardManifest, type ShardPart } from './manifest.js';

export interface TokenShardReaderOptions {
  /** When given, shards of another tokenizer are refused. */
  tokenizer?: Pick<Tokenizer, 'sha256'>;
  /** Shards whose files stay open and whose columns stay in memory; default 64. */
  cachedShards?: number;
}

/** The columns of one shard. */
export interface ShardMetadata {
  /** documents + 1 positions in the shard's tokens. */
  offsets: Float64Array;
  quality: Float32Array;
  weight: Float32Array;
  domain: Uint8Array;
}

export interface ShardDocument {
  shard: number;
  /** First token inside the shard. */
  start: number;
  /** Tokens, the end-of-text token included. */
  length: number;
  domain: string;
  quality: number;
  weight: number;
}

interface OpenShard {
  metadata: ShardMetadata;
  tokens: number;
}

type Words = Uint16Array | Uint32Array;

export class TokenShardReader {
  readonly folder: string;
  readonly manifest: ShardManifest;
  readonly documentCount: number;
  readonly tokenCount: number;
  readonly vocabularySize: number;
  readonly domains: readonly string[];
  /** SHA-256 of the manifest, which holds the SHA-256 of every file: equal digests mean equal shards. */
  readonly fingerprint: string;
  /** First document of each shard, and the number of all documents. */
  private readonly firstDocuments: Float64Array;
  private readonly cachedShards: number;
  /** Least recently used first. */
  private readonly open = new Map<number, OpenShard>();
  private newest: { shard: number; opened: OpenShard } | undefined;
  private lastShard = 0;
  private closed = false;

  private constructor(folder: string, manifest: ShardManifest, text: string, cachedShards: number) {
    this.folder = folder;
    this.manifest = manifest;
    this.documentCount = manifest.documents;
    this.tokenCount = manifest.tokens;
    this.vocabularySize = manifest.vocabularySize;
    this.domains = manifest.domains;
    this.fingerprint = createHash('sha256').update(text).digest('hex');
    this.firstDocuments = new Float64Array(manifest.shards.length + 1);
    for (const [i, shard] of manifest.shards.entries()) {
      this.firstDocuments[i + 1] = this.firstDocuments[i] + shard.documents;
    }
    this.cachedShards = cachedShards;
  }

  /**
   * Opens a folder that `tokenizeCorpus` finished. Files are checked for their size when first used;
   * `verifyTokenShards` checks their contents.
   * @throws TokenizerError `FILE_NOT_FOUND`, `CORRUPT_SHARDS`, `TOKENIZER_MISMATCH`
   */
  static async open(folder: string, options: TokenShardReaderOptions = {}): Promise<TokenShardReader> {
    requireLittleEndian();
    const { manifest, text } = await readManifest(folder);
    const { tokenizer, cachedShards = 64 } = options;
    if (tokenizer !== undefined && tokenizer.sha256 !== manifest.tokenizerSha256) {
      throw new TokenizerError(
        'TOKENIZER_MISMATCH',
        `The shards in ${folder} were made with tokenizer ${manifest.tokenizerSha256.slice(0, 12)}…, not ${tokenizer.sha256.slice(0, 12)}….`,
        { value: tokenizer.sha256, remedy: 'Load that tokenizer, or tokenize the corpus again with this one.' },
      );
    }
    if (!Number.isInteger(cachedShards) || cachedShards < 1) {
      throw new TokenizerError('INVALID_OPTIONS', `cachedShards is ${cachedShards}; it must be a positive integer.`, {
        value: cachedShards,
      });
    }
    return new TokenShardReader(folder, manifest, text, cachedShards);
  }

  /** Everything about a document but its tokens. */
  document(index: number): ShardDocument {
    const { shard, local, metadata } = this.locate(index);
    return {
      shard,
      start: metadata.offsets[local],
      length: metadata.offsets[local + 1] - metadata.offsets[local],
      domain: this.domains[metadata.domain[local]],
      quality: metadata.quality[local],
      weight: metadata.weight[local],
    };
  }

  documentLength(index: number): number {
    const { local, metadata } = this.locate(index);
    return metadata.offsets[local + 1] - metadata.offsets[local];
  }

  /** Index into `domains`. */
  documentDomain(index: number): number {
    const { local, metadata } = this.locate(index);
    return metadata.domain[local];
  }

  documentQuality(index: number): number {
    const { local, metadata } = this.locate(index);
    return metadata.quality[local];
  }

  documentWeight(index: number): number {
    const { local, metadata } = this.locate(index);
    return metadata.weight[local];
  }

  /** Tokens [start, end) of a document; by default all, its end-of-text token included. */
  readTokens(index: number, start = 0, end = this.documentLength(index)): Words {
    const { shard, local, metadata } = this.locate(index);
    const first = metadata.offsets[local];
    const length = metadata.offsets[local + 1] - first;
    if (!(start >= 0 && start <= end && end <= length)) {
      throw new TokenizerError(
        'OUT_OF_RANGE',
        `Document ${index} has ${length} tokens, not a range ${start} to ${end}.`,
        {
          value: [start, end],
        },
      );
    }
    return this.readRange(shard, first + start, end - start);
  }

  /** `readTokens` as int32, which tensors of ids are. */
  readDocument(index: number, { start, end }: { start?: number; end?: number } = {}): Int32Array {
    return new Int32Array(this.readTokens(index, start, end));
  }

  /** Writes tokens [start, end) of a document into `target` from `targetOffset`; returns how many. */
  readDocumentInto(
    index: number,
    target: Int32Array | Uint32Array,
    targetOffset: number,
    start?: number,
    end?: number,
  ): number {
    const tokens = this.readTokens(index, start, end);
    if (targetOffset < 0 || targetOffset + tokens.length > target.length) {
      throw new TokenizerError(
        'OUT_OF_RANGE',
        `${tokens.length} tokens do not fit at ${targetOffset} of ${target.length}.`,
        {
          value: targetOffset,
        },
      );
    }
    target.set(tokens, targetOffset);
    return tokens.length;
  }

  /** The columns of one shard; do not change them. */
  shardMetadata(shard: number): ShardMetadata {
    return this.openShard(shard).metadata;
  }

  /** Closes all files. */
  close(): void {
    for (const { tokens } of this.open.values()) closeSync(tokens);
    this.open.clear();
    this.newest = undefined;
    this.closed = true;
  }

  private locate(index: number): { shard: number; local: number; metadata: ShardMetadata } {
    if (!Number.isInteger(index) || index < 0 || index >= this.documentCount) {
      throw new TokenizerError('OUT_OF_RANGE', `There is no document ${index}.`, {
        value: index,
        remedy: `Documents go from 0 to ${this.documentCount - 1}.`,
      });
    }
    const first = this.firstDocuments;
    let shard = this.lastShard;
    if (index < first[shard] || index >= first[shard + 1]) {
      let low = 0;
      let high = first.length - 2;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (first[middle] <= index) low = middle;
        else high = middle - 1;
      }
      shard = low;
      this.lastShard = shard;
    }
    return { shard, local: index - first[shard], metadata: this.openShard(shard).metadata };
  }

  private openShard(shard: number): OpenShard {
    // Asking for the newest again, as a loop over documents does, leaves the order as it is.
    if (this.newest?.shard === shard) return this.newest.opened;
    const known = this.open.get(shard);
    if (known !== undefined) {
      this.open.delete(shard);
      this.open.set(shard, known);
      this.newest = { shard, opened: known };
      return known;
    }
    if (this.closed) throw new TokenizerError('CLOSED', 'The TokenShardReader was closed.');
    if (this.manifest.shards[shard] === undefined) {
      throw new TokenizerError('OUT_OF_RANGE', `There is no shard ${shard}.`, {
        value: shard,
        remedy: `Shards go from 0 to ${this.manifest.shards.length - 1}.`,
      });
    }
    const metadata: ShardMetadata = {
      offsets: Float64Array.from(new BigUint64Array(this.readColumn(shard, 'offsets')), Number),
      quality: new Float32Array(this.readColumn(shard, 'quality')),
      weight: new Float32Array(this.readColumn(shard, 'weight')),
      domain: new Uint8Array(this.readColumn(shard, 'domain')),
    };
    this.checkColumns(shard, metadata);
    const opened = { metadata, tokens: this.openChecked(shard, 'tokens') };
    this.open.set(shard, opened);
    this.newest = { shard, opened };
    for (const [oldest, { tokens }] of this.open) {
      if (this.open.size <= this.cachedShards) break;
      closeSync(tokens);
      this.open.delete(oldest);
    }
    return opened;
  }

  private checkColumns(shard: number, { offsets, domain }: ShardMetadata): void {
    const { files, tokens } = this.manifest.shards[shard];
    const path = join(this.folder, files.offsets.name);
    if (offsets[0] !== 0 || offsets[offsets.length - 1] !== tokens) {
      throw corruptShards(
        path,
        `it goes from ${offsets[0]} to ${offsets[offsets.length - 1]}, not from 0 to ${tokens}`,
      );
    }
    for (let i = 1; i < offsets.length; i++) {
      if (offsets[i] <= offsets[i - 1]) throw corruptShards(path, `document ${i - 1} has no tokens`);
    }
    for (const index of domain) {
      if (index >= this.domains.length)
        throw corruptShards(join(this.folder, files.domain.name), `it names domain ${index}`);
    }
  }

  private openChecked(shard: number, part: ShardPart): number {
    const { name, size } = this.manifest.shards[shard].files[part];
    const path = join(this.folder, name);
    let file: number;
    try {
      file = openSync(path, 'r');
    } catch (error) {
      throw corruptShards(path, (error as Error).message, error);
    }
    const found = fstatSync(file).size;
    if (found === size) return file;
    closeSync(file);
    throw corruptShards(path, `it has ${found} bytes, not ${size}`);
  }

  private readColumn(shard: number, part: ShardPart): ArrayBuffer {
    const file = this.openChecked(shard, part);
    try {
      const bytes = new Uint8Array(this.manifest.shards[shard].files[part].size);
      this.fill(file, bytes, 0, shard, part);
      return bytes.buffer;
    } finally {
      closeSync(file);
    }
  }

  private readRange(shard: number, start: number, length: number): Words {
    const words: Words = this.manifest.dtype === 'uint16' ? new Uint16Array(length) : new Uint32Array(length);
    const bytes = new Uint8Array(words.buffer);
    this.fill(this.openShard(shard).tokens, bytes, start * words.BYTES_PER_ELEMENT, shard, 'tokens');
    return words;
  }

  private fill(file: number, bytes: Uint8Array, position: number, shard: number, part: ShardPart): void {
    for (let done = 0; done < bytes.length;) {
      const read = readSync(file, bytes, done, bytes.length - done, position + done);
      if (read === 0) {
        const path = join(this.folder, this.manifest.shards[shard].files[part].name);
        throw corruptShards(path, `it ends at byte ${position + done}`);
      }
      done += read;
    }
  }
}
