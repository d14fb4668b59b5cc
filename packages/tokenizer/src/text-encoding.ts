/** From a JavaScript string to ids: special tokens, normalization, UTF-8, then the byte encoder. One per thread. */
import type { TokenizerModel } from './tokenizer-model.js';

const keptScratch = 1 << 20;

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
    this.model.encoder.length = 0;
  }

  copy(): Uint32Array {
    return this.model.encoder.slice(0);
  }

  /** Appends the ids of `text`. */
  encodeText(text: string, parseSpecialTokens: boolean): void {
    if (parseSpecialTokens) this.splitAddedTokens(text, 0);
    else this.encodePlain(text);
  }

  private splitAddedTokens(text: string, level: number): void {
    const { addedTokenPatterns, tokenIds, encoder } = this.model;
    if (level === addedTokenPatterns.length) return this.encodePlain(text);
    let from = 0;
    for (const match of text.matchAll(addedTokenPatterns[level])) {
      if (match.index > from) this.splitAddedTokens(text.slice(from, match.index), level + 1);
      encoder.append(tokenIds.get(match[0]) as number);
      from = match.index + match[0].length;
    }
    if (from < text.length) this.splitAddedTokens(from === 0 ? text : text.slice(from), level + 1);
  }

  private encodePlain(text: string): void {
    const normalized = this.model.normalizeNfc ? text.normalize('NFC') : text;
    // The encoder reads whole words of 8 bytes, so there must be room after the end.
    const needed = Buffer.byteLength(normalized) + 8;
    if (needed > this.scratch.length) this.resize(Math.max(needed, Math.min(2 * this.scratch.length, keptScratch)));
    const { written } = this.utf8.encodeInto(normalized, this.scratch);
    this.model.encoder.encode(this.scratch, this.view, 0, written);
    if (this.scratch.length > keptScratch) this.resize(keptScratch);
  }

  private resize(size: number): void {
    this.scratch = new Uint8Array(size);
    this.view = new DataView(this.scratch.buffer);
  }
}
