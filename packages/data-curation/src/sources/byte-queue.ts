/**
 * A stream of bytes read in pieces of a wanted size, with looking ahead. What was handed out stays valid. Memory: what is waiting, up to
 * three times. Cost: each byte is copied a few times at most, however often and far a reader looks ahead.
 */
export class ByteQueue {
  readonly #source: AsyncIterator<Buffer, unknown>;
  #buffer: Buffer = Buffer.alloc(0);
  /** What waits is `#buffer` from `#start` to `#end`. */
  #start = 0;
  #end = 0;
  #ended = false;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  get #waiting(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Up to `size` bytes without taking them; fewer only at the end. */
  async peek(size: number): Promise<Buffer> {
    while (this.#end - this.#start < size && (await this.#more()));
    return this.#waiting.subarray(0, size);
  }

  /** Skips `size` bytes without holding them; returns how many there were. */
  async skip(size: number): Promise<number> {
    let left = size;
    for (;;) {
      const step = Math.min(left, this.#end - this.#start);
      this.#start += step;
      left -= step;
      if (left === 0 || !(await this.#more())) return size - left;
    }
  }

  /**
   * Everything up to and with `pattern`. Undefined, and nothing is taken, when that does not come within `limit` bytes or only after
   * `stop`, which the first byte cannot begin.
   */
  async takeThrough(pattern: string, limit: number, stop: string): Promise<Buffer | undefined> {
    for (;;) {
      const window = this.#waiting.subarray(0, limit);
      const stopAt = window.indexOf(stop, 1);
      const at = (stopAt === -1 ? window : window.subarray(0, stopAt)).indexOf(pattern);
      if (at !== -1) {
        this.#start += at + pattern.length;
        return window.subarray(0, at + pattern.length);
      }
      if (stopAt !== -1 || window.length === limit || !(await this.#more())) return undefined;
    }
  }

  /** Skips at most `limit` bytes, and not past the next `pattern`; returns how many it skipped. */
  async skipBefore(pattern: string, limit: number): Promise<number> {
    let skipped = 0;
    for (;;) {
      const waiting = this.#waiting;
      const at = waiting.indexOf(pattern);
      // Without a match, the end of what is here may be the beginning of one.
      const safe = at === -1 ? Math.max(0, waiting.length - pattern.length + 1) : at;
      const step = Math.min(safe, limit - skipped);
      this.#start += step;
      skipped += step;
      if (at !== -1 || skipped === limit) return skipped;
      if (!(await this.#more())) return skipped + (await this.skip(limit - skipped));
    }
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    const next = await this.#source.next();
    if (next.done === true) {
      this.#ended = true;
      return false;
    }
    const waiting = this.#waiting;
    if (this.#end + next.value.length > this.#buffer.length) {
      // A new buffer, since pieces of the old one may be in use.
      this.#buffer = Buffer.allocUnsafe(2 * (waiting.length + next.value.length));
      waiting.copy(this.#buffer);
      this.#start = 0;
      this.#end = waiting.length;
    }
    next.value.copy(this.#buffer, this.#end);
    this.#end += next.value.length;
    return true;
  }
}
