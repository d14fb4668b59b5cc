/**
 * Text that comes in pieces, of which there may be one for every character. Pieces are joined by the thousand: strings that remember
 * millions of pieces cost 32 bytes for each. Memory: the text.
 */

const piecesAtOnce = 1024;
const endsInSpace = /\s$/;

export class TextBuffer {
  #joined = '';
  #pieces: string[] = [];
  #endsInSpace = false;
  #isEmpty = true;

  get isEmpty(): boolean {
    return this.#isEmpty;
  }

  /** Empty, or the last character is white space. */
  get isAtSpace(): boolean {
    return this.#isEmpty || this.#endsInSpace;
  }

  add(piece: string): void {
    if (piece === '') return;
    this.#isEmpty = false;
    this.#endsInSpace = endsInSpace.test(piece.slice(-1));
    if (this.#pieces.push(piece) >= piecesAtOnce) this.#join();
  }

  /** All of it; the buffer is empty then. */
  take(): string {
    this.#join();
    const text = this.#joined;
    this.#joined = '';
    this.#isEmpty = true;
    return text;
  }

  #join(): void {
    this.#joined += this.#pieces.join('');
    this.#pieces = [];
  }
}
