/**
 * Follows the frames of a Zstandard file (RFC 8878, section 3.1) beside the decompressor, to refuse those that ask for more memory than
 * `zstd` itself gives without being told to: a few bytes can ask for gigabytes. Memory: a frame's header.
 */

const magic = 0xfd2fb528;
/** Of skippable frames, whose last hexadecimal digit is free. */
const skippableMagic = 0x184d2a5;
const runBlock = 1;

export class ZstdFrames {
  readonly #maximumWindow: number;
  /** What has come of the header that is being read. */
  #header: number[] = [];
  #isInFrame = false;
  #hasChecksum = false;
  /** Bytes to pass over. */
  #skip = 0;
  /** Of the frame that asks for too much; nothing after it is followed. */
  failure: string | undefined;

  constructor(maximumWindow: number) {
    this.#maximumWindow = maximumWindow;
  }

  /** How many of the bytes may be decompressed: all, or those before a frame that asks for too much. What is no Zstandard passes. */
  follow(bytes: Uint8Array): number {
    let begin = 0;
    for (let at = 0; at < bytes.length && this.failure === undefined;) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, bytes.length - at);
        this.#skip -= step;
        at += step;
        continue;
      }
      if (this.#header.length === 0) begin = at;
      this.#header.push(bytes[at++]);
      if (this.#isInFrame) this.#readBlockHeader();
      else this.#readFrameHeader();
    }
    return this.failure === undefined ? bytes.length : begin;
  }

  #readFrameHeader(): void {
    const header = this.#header;
    if (header.length < 5) return;
    const number = littleEndian(header, 0, 4);
    if (Math.floor(number / 16) === skippableMagic) {
      if (header.length === 8) this.#pass(littleEndian(header, 4, 4));
      return;
    }
    if (number !== magic) {
      this.#pass(Infinity);
      return;
    }
    const descriptor = header[4];
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const sizeFlag = descriptor >> 6;
    const sizeBytes = sizeFlag === 0 ? Number(isSingleSegment) : 1 << sizeFlag;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3];
    const length = 5 + Number(!isSingleSegment) + dictionaryBytes + sizeBytes;
    if (header.length < length) return;
    // A single segment is its own window.
    const window = isSingleSegment
      ? littleEndian(header, length - sizeBytes, sizeBytes) + (sizeFlag === 1 ? 256 : 0)
      : 2 ** (10 + (header[5] >> 3)) * (1 + (header[5] & 7) / 8);
    if (window > this.#maximumWindow) this.failure = `a window of ${window} bytes`;
    this.#hasChecksum = (descriptor & 4) !== 0;
    this.#isInFrame = true;
    this.#pass(0);
  }

  #readBlockHeader(): void {
    if (this.#header.length < 3) return;
    const number = littleEndian(this.#header, 0, 3);
    const isLast = (number & 1) !== 0;
    const size = ((number >> 1) & 3) === runBlock ? 1 : number >> 3;
    this.#isInFrame = !isLast;
    this.#pass(size + (isLast && this.#hasChecksum ? 4 : 0));
  }

  #pass(bytes: number): void {
    this.#header = [];
    this.#skip = bytes;
  }
}

function littleEndian(bytes: readonly number[], start: number, length: number): number {
  let value = 0;
  for (let index = length - 1; index >= 0; index--) value = value * 256 + bytes[start + index];
  return value;
}
