/** Finds added tokens in UTF-8: the leftmost, and of those that start there the longest. About a table look-up a byte. */

export interface AddedTokenBytes {
  bytes: Uint8Array;
  id: number;
}

export class AddedTokenFinder {
  /** The last match. */
  start = 0;
  end = 0;
  id = 0;
  /** For each first byte its tokens, longest first. */
  private readonly byFirstByte: (readonly AddedTokenBytes[])[] = [];
  private readonly isFirstByte = new Uint8Array(256);

  constructor(tokens: readonly AddedTokenBytes[]) {
    for (const { bytes } of tokens) this.isFirstByte[bytes[0]] = 1;
    for (let byte = 0; byte < 256; byte++) {
      const starting = tokens.filter(({ bytes }) => bytes[0] === byte);
      this.byFirstByte.push(starting.sort((a, b) => b.bytes.length - a.bytes.length));
    }
  }

  /** Looks in `bytes[from … end)`; true when there is a match, which is then in `start`, `end` and `id`. */
  find(bytes: Uint8Array, from: number, end: number): boolean {
    const { isFirstByte } = this;
    for (let position = from; position < end; position++) {
      if (isFirstByte[bytes[position]] === 1 && this.matchAt(bytes, position, end)) return true;
    }
    return false;
  }

  private matchAt(bytes: Uint8Array, position: number, end: number): boolean {
    for (const token of this.byFirstByte[bytes[position]]) {
      const length = token.bytes.length;
      if (position + length > end) continue;
      let i = 1;
      while (i < length && bytes[position + i] === token.bytes[i]) i++;
      if (i < length) continue;
      this.start = position;
      this.end = position + length;
      this.id = token.id;
      return true;
    }
    return false;
  }
}
