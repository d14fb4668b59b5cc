/**
 * A byte-level BPE tokenizer loaded from Hugging Face's tokenizer.json, with the ids that `tokenizers` gives.
 *
 * Encoding never adds tokens (no automatic bos/eos), and text is only text: the characters `<|im_end|>` become the
 * special token only with `parseSpecialTokens: true`. Loading costs about 0.1 s for 100,000 tokens.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BatchEncoder, requestLength } from './batch-encoder.js';
import { createEncoderModel } from './encoder-model.js';
import { TokenizerError } from './errors.js';
import { StreamingDecoder } from './streaming-decoder.js';
import { TextEncoding } from './text-encoding.js';
import {
  checkTokenizerDefinition,
  parseTokenizerDefinition,
  serializeTokenizerDefinition,
  tokenByteTable,
} from './tokenizer-definition.js';
import type { EncodedBatch, TokenizerDefinition } from './types.js';
import { resolveWorkerCount } from './worker-pool.js';

export interface EncodeOptions {
  /** Turn the text of special tokens into their ids; default false. */
  parseSpecialTokens?: boolean;
}

export interface EncodeBatchOptions extends EncodeOptions {
  /** Worker threads; 0 for none besides this one; default one for each core. Small batches need none. */
  workers?: number;
}

export interface DecodeOptions {
  /** Leave special tokens out; default false. */
  skipSpecial?: boolean;
}

export class Tokenizer {
  readonly definition: TokenizerDefinition;
  /** SHA-256 of tokenizer.json, in hex: what `sha256sum tokenizer.json` prints. */
  readonly sha256: string;
  /** Highest id + 1: the rows an embedding needs. */
  readonly vocabularySize: number;
  /** Special tokens and their ids. */
  readonly specialTokens: ReadonlyMap<string, number>;
  private readonly specialIds: ReadonlySet<number>;
  private readonly tokenIds: ReadonlyMap<string, number>;
  /** Bytes of each id; holes where a definition skips an id. */
  private readonly bytesOfTokens: readonly (Uint8Array | undefined)[];
  private readonly encoding: TextEncoding;
  private readonly batchEncoder: BatchEncoder;

  private constructor(definition: TokenizerDefinition, serialized: string | Uint8Array) {
    this.definition = definition;
    this.sha256 = createHash('sha256').update(serialized).digest('hex');
    const model = createEncoderModel(definition);
    this.encoding = new TextEncoding(model);
    this.batchEncoder = new BatchEncoder(model);
    this.bytesOfTokens = tokenByteTable(definition);
    this.vocabularySize = this.bytesOfTokens.length;
    const special = definition.added_tokens.filter((token) => token.special);
    this.specialTokens = new Map(special.map(({ content, id }) => [content, id]));
    this.specialIds = new Set(special.map(({ id }) => id));
    const tokenIds = new Map(Object.entries(definition.model.vocab));
    for (const { content, id } of definition.added_tokens) tokenIds.set(content, id);
    this.tokenIds = tokenIds;
  }

  /**
   * Loads a folder with a tokenizer.json, or that file itself.
   * @throws TokenizerError `FILE_NOT_FOUND`, `CORRUPT_TOKENIZER_FILE`, `UNSUPPORTED_TOKENIZER`
   */
  static async load(path: string): Promise<Tokenizer> {
    let file = path;
    let bytes: Uint8Array;
    try {
      if ((await stat(path)).isDirectory()) file = join(path, 'tokenizer.json');
      bytes = await readFile(file);
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      throw new TokenizerError(
        missing ? 'FILE_NOT_FOUND' : 'FILE_READ_FAILED',
        `Could not read ${file}: ${(error as Error).message}.`,
        { value: path, cause: error, remedy: 'Give a folder that holds a tokenizer.json, or the path of that file.' },
      );
    }
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (error) {
      throw new TokenizerError('CORRUPT_TOKENIZER_FILE', `${file} is not UTF-8.`, {
        value: file,
        cause: error,
        remedy: 'Copy or train it again.',
      });
    }
    return new Tokenizer(parseTokenizerDefinition(text, file), bytes);
  }

  /** A tokenizer from a definition in memory; its sha256 is that of the file `writeTokenizerFolder` writes for it. */
  static fromDefinition(definition: TokenizerDefinition): Tokenizer {
    return new Tokenizer(checkTokenizerDefinition(definition), serializeTokenizerDefinition(definition));
  }

  /** Ids of a text. Lone surrogates count as U+FFFD, as in UTF-8 conversion everywhere. */
  encode(text: string, { parseSpecialTokens = false }: EncodeOptions = {}): Uint32Array {
    this.encoding.reset();
    this.encoding.encodeText(text, parseSpecialTokens);
    return this.encoding.copy();
  }

  /**
   * Ids of many texts, end to end in one array. Large batches go to worker threads, which are kept for the next batch and
   * do not keep the process alive; `close` ends them.
   */
  async encodeBatch(texts: readonly string[], options: EncodeBatchOptions = {}): Promise<EncodedBatch> {
    const { parseSpecialTokens = false } = options;
    const workers = resolveWorkerCount(options.workers);
    const length = texts.reduce((sum, text) => sum + text.length, 0);
    if (workers > 0 && length > 2 * requestLength) return this.batchEncoder.encode(texts, parseSpecialTokens, workers);
    const offsets = new Float64Array(texts.length + 1);
    this.encoding.reset();
    for (const [i, text] of texts.entries()) {
      this.encoding.encodeText(text, parseSpecialTokens);
      offsets[i + 1] = this.encoding.length;
    }
    return { tokens: this.encoding.copy(), offsets };
  }

  /**
   * The text of some ids; bytes that are no valid UTF-8 become U+FFFD.
   * @throws TokenizerError `UNKNOWN_TOKEN_ID`
   */
  decode(ids: ArrayLike<number>, { skipSpecial = false }: DecodeOptions = {}): string {
    const parts: Uint8Array[] = [];
    for (let i = 0; i < ids.length; i++) {
      const bytes = this.tokenBytes(ids[i]);
      if (!(skipSpecial && this.specialIds.has(ids[i]))) parts.push(bytes);
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(parts));
  }

  /** A decoder for ids that arrive one by one: it never gives out half a character. */
  createDecoder({ skipSpecial = false }: DecodeOptions = {}): StreamingDecoder {
    return new StreamingDecoder((id) =>
      skipSpecial && this.specialIds.has(id) ? new Uint8Array() : this.tokenBytes(id),
    );
  }

  /** The id of a token: a special token by its text, any other by its byte-level spelling (`Ġthe` is ` the`). */
  tokenId(token: string): number | undefined {
    return this.tokenIds.get(token);
  }

  /**
   * The bytes of a token. Do not change them.
   * @throws TokenizerError `UNKNOWN_TOKEN_ID`
   */
  tokenBytes(id: number): Uint8Array {
    const bytes = this.bytesOfTokens[id];
    if (bytes === undefined) {
      throw new TokenizerError('UNKNOWN_TOKEN_ID', `There is no token with id ${id}.`, {
        value: id,
        remedy: `Ids go from 0 to ${this.vocabularySize - 1}.`,
      });
    }
    return bytes;
  }

  /** Ends the worker threads of `encodeBatch`, if any were started; the tokenizer can still be used. */
  async close(): Promise<void> {
    await this.batchEncoder.close();
  }
}
