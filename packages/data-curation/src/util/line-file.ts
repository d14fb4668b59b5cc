/**
 * A text file written line by line from code that cannot wait, under its final name only when whole. Memory: 64 KiB; the writes are
 * synchronous, which a worker thread can afford.
 */

import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';

const pendingCharacters = 1 << 16;

export class LineFile {
  readonly #path: string;
  readonly #temporary: string;
  readonly #descriptor: number;
  readonly #hash = createHash('sha256');
  #pending = '';
  #isOpen = true;

  constructor(path: string) {
    this.#path = path;
    this.#temporary = `${path}.${randomBytes(6).toString('hex')}.partial`;
    this.#descriptor = openSync(this.#temporary, 'wx');
  }

  /** `line` without its line feed. */
  add(line: string): void {
    this.#pending += `${line}\n`;
    if (this.#pending.length >= pendingCharacters) this.#flush();
  }

  /** Gives the file its name; returns the SHA-256 of its bytes. */
  finish(): string {
    this.#flush();
    fsyncSync(this.#descriptor);
    closeSync(this.#descriptor);
    this.#isOpen = false;
    renameSync(this.#temporary, this.#path);
    return this.#hash.digest('hex');
  }

  /** Removes what was written, unless it is finished. */
  discard(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeSync(this.#descriptor);
    rmSync(this.#temporary, { force: true });
  }

  #flush(): void {
    if (this.#pending === '') return;
    const bytes = Buffer.from(this.#pending);
    this.#pending = '';
    this.#hash.update(bytes);
    for (let at = 0; at < bytes.length;) at += writeSync(this.#descriptor, bytes, at);
  }
}
