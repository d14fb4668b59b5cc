/** Documents as they travel from a worker to the writer, in flat arrays; and the encoding of texts into them. */
import { isUtf8 } from 'node:buffer';
import type { EncoderModel } from '../encoder-model.js';
import { TextEncoding } from '../text-encoding.js';

export interface TokenizedDocuments {
  /** All documents end to end, each with its end-of-text token. */
  tokens: Uint16Array | Uint32Array;
  /** Tokens of each document, end-of-text token included. */
  tokenCounts: Uint32Array;
  /** UTF-8 bytes of each document's text. */
  byteCounts: Float64Array;
  /** Which row of the batch each document was. */
  rows: Uint32Array;
  /** Rows in the batch, those without text included. */
  rowCount: number;
  quality: Float32Array;
  weight: Float32Array;
  /** Index into `domains` for each document. */
  domain: Uint16Array;
  domains: string[];
}

/** Rows as columns; `texts` are strings or UTF-8 bytes. */
export interface TextRows {
  texts: ArrayLike<string | Uint8Array>;
  domain: (row: number) => string;
  quality: (row: number) => number;
  weight: (row: number) => number;
}

export class DocumentEncoder {
  private readonly encoding: TextEncoding;
  private readonly endOfText: number;
  private readonly wide: boolean;

  constructor(model: EncoderModel, endOfText: number, wide: boolean) {
    this.encoding = new TextEncoding(model);
    this.endOfText = endOfText;
    this.wide = wide;
  }

  /** Rows without text become no document. Broken UTF-8 counts as U+FFFD. */
  encode({ texts, domain, quality, weight }: TextRows): TokenizedDocuments {
    const { encoding } = this;
    const kept: number[] = [];
    const byteCounts: number[] = [];
    const ends: number[] = [];
    encoding.reset();
    for (let row = 0; row < texts.length; row++) {
      const text = texts[row];
      if (text.length === 0) continue;
      byteCounts.push(this.encodeText(text));
      encoding.append(this.endOfText);
      kept.push(row);
      ends.push(encoding.length);
    }
    const names = new Map<string, number>();
    const indexOf = (name: string) => {
      const known = names.get(name) ?? names.size;
      names.set(name, known);
      return known;
    };
    return {
      tokens: this.wide ? encoding.copy() : encoding.copy16(),
      tokenCounts: Uint32Array.from(ends, (end, i) => end - (i === 0 ? 0 : ends[i - 1])),
      byteCounts: Float64Array.from(byteCounts),
      rows: Uint32Array.from(kept),
      rowCount: texts.length,
      quality: Float32Array.from(kept, quality),
      weight: Float32Array.from(kept, weight),
      domain: Uint16Array.from(kept, (row) => indexOf(domain(row))),
      domains: [...names.keys()],
    };
  }

  private encodeText(text: string | Uint8Array): number {
    if (typeof text === 'string') return this.encoding.encodeText(text, false);
    if (isUtf8(text)) {
      this.encoding.encodeBytes(text);
      return text.length;
    }
    return this.encoding.encodeText(new TextDecoder('utf-8', { ignoreBOM: true }).decode(text), false);
  }
}
