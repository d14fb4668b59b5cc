/**
 * Memory for tensors, used again instead of being cleared and collected: a step of training asks for the same sizes as the
 * last one.
 *
 * `acquire` returns memory that holds anything; whoever releases a buffer must know that nothing else refers to it. Sizes are
 * rounded up to four steps an octave (at most 25 % too large). What is kept free never exceeds the most that was in use at once,
 * so that a whole step finds its buffers again.
 */

/** From here on memory comes from the addon: aligned, not cleared, in huge pages where the system has them. */
const nativeThreshold = 64 * 1024;
const keepAtLeast = 64 * 1024 * 1024;

export class BufferPool {
  private readonly free = new Map<number, ArrayBuffer[]>();
  private liveBytes = 0;
  private peakBytes = 0;
  private freeBytes = 0;

  constructor(private readonly allocate: (bytes: number) => ArrayBuffer) {}

  /** A buffer of at least `bytes` bytes. */
  acquire(bytes: number): ArrayBuffer {
    const size = roundUp(bytes);
    this.liveBytes += size;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
    const kept = this.free.get(size)?.pop();
    if (kept !== undefined) {
      this.freeBytes -= size;
      return kept;
    }
    this.shrinkTo(Math.max(this.peakBytes, keepAtLeast));
    return size < nativeThreshold ? new ArrayBuffer(size) : this.allocate(size);
  }

  /** Takes back a buffer that nothing refers to any more. */
  release(buffer: ArrayBuffer): void {
    const size = buffer.byteLength;
    this.liveBytes -= size;
    const kept = this.free.get(size);
    if (kept === undefined) this.free.set(size, [buffer]);
    else kept.push(buffer);
    this.freeBytes += size;
  }

  /** Counts out a buffer that somebody outside keeps: the garbage collector will have it. */
  forget(buffer: ArrayBuffer): void {
    this.liveBytes -= buffer.byteLength;
  }

  /** Bytes in tensors, and bytes waiting to be used again. */
  statistics(): { liveBytes: number; freeBytes: number } {
    return { liveBytes: this.liveBytes, freeBytes: this.freeBytes };
  }

  /** Lets go of free buffers, largest first, until `limit` bytes are left. */
  private shrinkTo(limit: number): void {
    if (this.freeBytes <= limit) return;
    for (const size of [...this.free.keys()].sort((a, b) => b - a)) {
      const kept = this.free.get(size)!;
      while (kept.length > 0 && this.freeBytes > limit) {
        kept.pop();
        this.freeBytes -= size;
      }
      if (kept.length === 0) this.free.delete(size);
      if (this.freeBytes <= limit) return;
    }
  }
}

function roundUp(bytes: number): number {
  if (bytes <= 64) return 64;
  const exponent = bytes < 2 ** 31 ? 31 - Math.clz32(bytes) : Math.floor(Math.log2(bytes));
  const step = 2 ** (exponent - 2);
  return Math.ceil(bytes / step) * step;
}
