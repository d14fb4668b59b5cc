/** A stream of bytes read in pieces of a wanted size, with a little looking ahead and putting back. Memory: what is waiting. */

export class ByteQueue {
  readonly #source: AsyncIterator<Buffer, unknown>;
  #waiting: Buffer = Buffer.alloc(0);
  #ended = false;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Up to `size` bytes without taking them; fewer only at the end. */
  async peek(size: number): Promise<Buffer> {
    await this.#fill(size);
    return this.#waiting.subarray(0, size);
  }

  /** Exactly `size` bytes, or fewer at the end. */
  async take(size: number): Promise<Buffer> {
    const bytes = await this.peek(size);
    this.#waiting = this.#waiting.subarray(bytes.length);
    return bytes;
  }

  /** Skips `size` bytes without holding them; returns how many there were. */
  async skip(size: number): Promise<number> {
    let left = size;
    for (;;) {
      const step = Math.min(left, this.#waiting.length);
      this.#waiting = this.#waiting.subarray(step);
      left -= step;
      if (left === 0 || !(await this.#more())) return size - left;
    }
  }

  /** Everything up to and with `pattern`, or undefined when it does not come within `limit` bytes (then nothing is taken). */
  async takeThrough(pattern: string, limit: number): Promise<Buffer | undefined> {
    for (;;) {
      const at = this.#waiting.indexOf(pattern);
      if (at !== -1 && at + pattern.length <= limit) return this.take(at + pattern.length);
      if (at !== -1 || this.#waiting.length >= limit || !(await this.#more())) return undefined;
    }
  }

  /** Drops everything before the next `pattern`, keeping the pattern; false when it never comes. */
  async skipTo(pattern: string): Promise<boolean> {
    for (;;) {
      const at = this.#waiting.indexOf(pattern);
      if (at !== -1) {
        this.#waiting = this.#waiting.subarray(at);
        return true;
      }
      const keep = Math.min(this.#waiting.length, pattern.length - 1);
      this.#waiting = this.#waiting.subarray(this.#waiting.length - keep);
      if (!(await this.#more())) return false;
    }
  }

  putBack(bytes: Buffer): void {
    this.#waiting = Buffer.concat([bytes, this.#waiting]);
  }

  async #fill(size: number): Promise<void> {
    if (this.#waiting.length >= size) return;
    const pieces = [this.#waiting];
    let length = this.#waiting.length;
    while (length < size && !this.#ended) {
      const next = await this.#source.next();
      if (next.done === true) {
        this.#ended = true;
      } else {
        pieces.push(next.value);
        length += next.value.length;
      }
    }
    this.#waiting = Buffer.concat(pieces);
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    const next = await this.#source.next();
    if (next.done === true) {
      this.#ended = true;
      return false;
    }
    this.#waiting = this.#waiting.length === 0 ? next.value : Buffer.concat([this.#waiting, next.value]);
    return true;
  }
}
