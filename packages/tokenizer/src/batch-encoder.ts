/** Encodes batches of texts on worker threads, which start with the first large batch and stay until `close`. */
import type { EncoderModel } from './encoder-model.js';
import type { EncodeRequest, EncodeResponse } from './encode-worker.js';
import { inOrder } from './in-order.js';
import { readableSlack } from './text-encoding.js';
import type { EncodedBatch } from './types.js';
import { transferList, WorkerPool } from './worker-pool.js';

/** UTF-16 units in a request: large enough to hide its cost, small enough to share the work evenly. */
export const requestLength = 1 << 18;

export class BatchEncoder {
  private readonly model: EncoderModel;
  /** One for each number of workers that was asked for. */
  private readonly pools = new Map<number, WorkerPool<EncodeRequest, EncodeResponse>>();

  constructor(model: EncoderModel) {
    this.model = model;
  }

  async encode(texts: readonly string[], parseSpecialTokens: boolean, workers: number): Promise<EncodedBatch> {
    const pool = this.poolOf(workers);
    const offsets = new Float64Array(texts.length + 1);
    const parts: Uint32Array[] = [];
    let text = 0;
    let length = 0;
    const send = (request: EncodeRequest) => pool.run(request, transferList(request.bytes, request.ends));
    for await (const { result } of inOrder(requests(texts, parseSpecialTokens), send, 2 * workers)) {
      parts.push(result.tokens);
      for (const end of result.ends) offsets[++text] = length + end;
      length += result.tokens.length;
    }
    const tokens = new Uint32Array(length);
    let at = 0;
    for (const part of parts) {
      tokens.set(part, at);
      at += part.length;
    }
    return { tokens, offsets };
  }

  async close(): Promise<void> {
    const pools = [...this.pools.values()];
    this.pools.clear();
    await Promise.all(pools.map((pool) => pool.close()));
  }

  private poolOf(workers: number): WorkerPool<EncodeRequest, EncodeResponse> {
    const known = this.pools.get(workers) ?? new WorkerPool('encode-worker', workers, this.model);
    this.pools.set(workers, known);
    return known;
  }
}

function* requests(texts: readonly string[], parseSpecialTokens: boolean): Generator<EncodeRequest> {
  for (let first = 0; first < texts.length;) {
    let last = first;
    let length = 0;
    while (last < texts.length && length < requestLength) length += texts[last++].length;
    yield { ...toUtf8(texts, first, last, length), parseSpecialTokens };
    first = last;
  }
}

const utf8 = new TextEncoder();

/** Texts `first` to `last` end to end. ASCII is the common case: it takes one byte a unit, and more room only if not. */
function toUtf8(
  texts: readonly string[],
  first: number,
  last: number,
  length: number,
): { bytes: Uint8Array; ends: Int32Array } {
  const ends = new Int32Array(last - first);
  let bytes = new Uint8Array(length + (length >> 3) + readableSlack);
  let end = 0;
  for (let i = first; i < last; i++) {
    const text = texts[i];
    const room = bytes.length - readableSlack - end;
    const fitting = utf8.encodeInto(text, bytes.subarray(end, end + room));
    let { written } = fitting;
    if (fitting.read < text.length) {
      const larger = new Uint8Array(2 * (end + Buffer.byteLength(text)) + (length >> 1) + readableSlack);
      larger.set(bytes.subarray(0, end));
      bytes = larger;
      ({ written } = utf8.encodeInto(text, bytes.subarray(end)));
    }
    end += written;
    ends[i - first] = end;
  }
  return { bytes, ends };
}
