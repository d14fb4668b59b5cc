/** From text to ids: special tokens, normalization, UTF-8, then the byte encoder. One per thread. */
import type { TokenizerModel } from './tokenizer-model.js';

const keptBytes = 1 << 20;
/** The byte encoder reads whole words of 8 bytes, so there must be room after the end. */
const slack = 8;

export class TextEncoding {
  private readonly model: TokenizerModel;
  private readonly utf8 = new TextEncoder();
  private scratch = new Uint8Array(1 << 12);
  private view = new DataView(this.scratch.buffer);

  constructor(model: TokenizerModel) {
    this.model = model;
  }

  get length(): number {
    return this.model.encoder.length;
  }

  reset(): void {
    this.model.encoder.reset();
  }

  append(id: number): void {
    this.model.encoder.append(id);
  }

  /** All ids since `reset`. */
  copy(): Uint32Array {
    return this.model.encoder.output.slice(0, this.length);
  }

  /** All ids since `reset`; they must be below 65,536. */
  copy16(): Uint16Array {
    return new Uint16Array(this.model.encoder.output.subarray(0, this.length));
  }

  /** Appends the ids of `text`; returns its length in UTF-8. */
  encodeText(text: string, parseSpecialTokens: boolean): number {
    return parseSpecialTokens ? this.splitAddedTokens(text, 0) : this.encodePlain(text);
  }

  /** Appends the ids of a text in valid UTF-8; returns its length. */
  encodeUtf8(bytes: Uint8Array): number {
    if (this.model.normalizeNfc) return this.encodePlain(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes));
    this.reserve(bytes.length);
    this.scratch.set(bytes);
    this.encodeScratch(bytes.length);
    return bytes.length;
  }

  private splitAddedTokens(text: string, level: number): number {
    const { addedTokenPatterns, tokenIds, encoder } = this.model;
    if (level === addedTokenPatterns.length) return this.encodePlain(text);
    let bytes = 0;
    let from = 0;
    for (const match of text.matchAll(addedTokenPatterns[level])) {
      if (match.index > from) bytes += this.splitAddedTokens(text.slice(from, match.index), level + 1);
      encoder.append(tokenIds.get(match[0]) as number);
      bytes += Buffer.byteLength(match[0]);
      from = match.index + match[0].length;
    }
    if (from < text.length) bytes += this.splitAddedTokens(from === 0 ? text : text.slice(from), level + 1);
    return bytes;
  }

  private encodePlain(text: string): number {
    const normalized = this.model.normalizeNfc ? text.normalize('NFC') : text;
    this.reserve(normalized.length * 3 <= keptBytes ? normalized.length * 3 : Buffer.byteLength(normalized));
    const { written } = this.utf8.encodeInto(normalized, this.scratch);
    this.encodeScratch(written);
    return written;
  }

  private encodeScratch(length: number): void {
    this.model.encoder.encode(this.scratch, this.view, 0, length);
    if (this.scratch.length > keptBytes + slack) this.resize(keptBytes + slack);
  }

  private reserve(bytes: number): void {
    if (bytes + slack > this.scratch.length)
      this.resize(Math.max(bytes + slack, Math.min(2 * this.scratch.length, keptBytes)));
  }

  private resize(size: number): void {
    this.scratch = new Uint8Array(size);
    this.view = new DataView(this.scratch.buffer);
  }
}
