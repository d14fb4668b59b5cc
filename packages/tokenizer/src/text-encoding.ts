/** From text to ids: UTF-8, special tokens, normalization, then the byte encoder. One for each thread. */
import { AddedTokenFinder } from './added-token-finder.js';
import { BytePairEncoder } from './byte-pair-encoder.js';
import type { EncoderModel } from './encoder-model.js';
import { MergeTable } from './merge-table.js';
import { PreTokenScanner } from './pre-token-scanner.js';

/** The byte encoder reads whole words of 8 bytes, so there must be room after the end of a text. */
export const readableSlack = 8;
const keptBytes = 1 << 20;

/** Bytes with the view that the encoder reads words through. */
class Scratch {
  bytes = new Uint8Array(1 << 12);
  view = new DataView(this.bytes.buffer);

  reserve(bytes: number): void {
    const needed = bytes + readableSlack;
    if (needed > this.bytes.length) this.resize(Math.max(needed, Math.min(2 * this.bytes.length, keptBytes)));
  }

  /** Lets go of the room that a large text needed. */
  release(): void {
    if (this.bytes.length > keptBytes + readableSlack) this.resize(keptBytes);
  }

  private resize(size: number): void {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }
}

export class TextEncoding {
  private readonly encoder: BytePairEncoder;
  private readonly normalizeNfc: boolean;
  private readonly rawTokens: AddedTokenFinder;
  private readonly normalizedTokens: AddedTokenFinder;
  private readonly utf8 = new TextEncoder();
  private readonly scratch = new Scratch();
  private readonly normalizedScratch = new Scratch();

  constructor(model: EncoderModel) {
    const words = model.wholeWords;
    this.encoder = new BytePairEncoder({
      scanner: new PreTokenScanner(model.rules),
      byteTokens: model.byteTokens,
      merges: new MergeTable(model.mergeSlots),
      wholeWords: words && { ids: words, longest: [...words.keys()].reduce((n, word) => Math.max(n, word.length), 0) },
    });
    this.normalizeNfc = model.normalizeNfc;
    this.rawTokens = new AddedTokenFinder(model.addedTokens.raw);
    this.normalizedTokens = new AddedTokenFinder(model.addedTokens.normalized);
  }

  /** Ids since `reset`. */
  get length(): number {
    return this.encoder.length;
  }

  reset(): void {
    this.encoder.reset();
  }

  append(id: number): void {
    this.encoder.append(id);
  }

  /** All ids since `reset`. */
  copy(): Uint32Array {
    return this.encoder.output.slice(0, this.length);
  }

  /** All ids since `reset`; they must be below 65,536. */
  copy16(): Uint16Array {
    return new Uint16Array(this.encoder.output.subarray(0, this.length));
  }

  /** Appends the ids of `text`; returns its length in UTF-8. */
  encodeText(text: string, parseSpecialTokens: boolean): number {
    this.scratch.reserve(text.length * 3 <= keptBytes ? text.length * 3 : Buffer.byteLength(text));
    const { written } = this.utf8.encodeInto(text, this.scratch.bytes);
    this.encodeUtf8(this.scratch.bytes, this.scratch.view, 0, written, parseSpecialTokens);
    this.scratch.release();
    return written;
  }

  /** Appends the ids of a text in valid UTF-8. */
  encodeBytes(text: Uint8Array): void {
    this.scratch.reserve(text.length);
    this.scratch.bytes.set(text);
    this.encodeUtf8(this.scratch.bytes, this.scratch.view, 0, text.length, false);
    this.scratch.release();
  }

  /** Appends the ids of `bytes[start … end)`, valid UTF-8 with `readableSlack` bytes after `end`. */
  encodeUtf8(bytes: Uint8Array, view: DataView, start: number, end: number, parseSpecialTokens: boolean): void {
    if (!parseSpecialTokens) return this.encodePiece(bytes, view, start, end, false);
    const { rawTokens } = this;
    let from = start;
    while (rawTokens.find(bytes, from, end)) {
      const { start: tokenStart, end: tokenEnd, id } = rawTokens;
      this.encodePiece(bytes, view, from, tokenStart, true);
      this.encoder.append(id);
      from = tokenEnd;
    }
    this.encodePiece(bytes, view, from, end, true);
  }

  /** A piece between tokens that are matched before normalization. */
  private encodePiece(
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    parseSpecialTokens: boolean,
  ): void {
    if (start === end) return;
    if (this.normalizeNfc && !isAscii(bytes, start, end)) {
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(start, end)).normalize('NFC');
      const { normalizedScratch } = this;
      normalizedScratch.reserve(Buffer.byteLength(text));
      const { written } = this.utf8.encodeInto(text, normalizedScratch.bytes);
      this.encodeNormalized(normalizedScratch.bytes, normalizedScratch.view, 0, written, parseSpecialTokens);
      normalizedScratch.release();
    } else this.encodeNormalized(bytes, view, start, end, parseSpecialTokens);
  }

  private encodeNormalized(bytes: Uint8Array, view: DataView, start: number, end: number, parse: boolean): void {
    const { normalizedTokens, encoder } = this;
    let from = start;
    while (parse && normalizedTokens.find(bytes, from, end)) {
      encoder.encode(bytes, view, from, normalizedTokens.start);
      encoder.append(normalizedTokens.id);
      from = normalizedTokens.end;
    }
    encoder.encode(bytes, view, from, end);
  }
}

function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] >= 0x80) return false;
  return true;
}
