/** Worker thread: encodes texts that lie end to end in UTF-8. */
import { workerData } from 'node:worker_threads';
import type { EncoderModel } from './encoder-model.js';
import { TextEncoding } from './text-encoding.js';
import { serveRequests, transferList } from './worker-pool.js';

export interface EncodeRequest {
  /** Valid UTF-8, with `readableSlack` bytes after the last text. */
  bytes: Uint8Array;
  /** Where each text ends. */
  ends: Int32Array;
  parseSpecialTokens: boolean;
}

export interface EncodeResponse {
  tokens: Uint32Array;
  /** Where each text's tokens end. */
  ends: Float64Array;
}

const encoding = new TextEncoding(workerData as EncoderModel);

serveRequests<EncodeRequest, EncodeResponse>(
  ({ bytes, ends, parseSpecialTokens }) => {
    const view = new DataView(bytes.buffer);
    const tokenEnds = new Float64Array(ends.length);
    encoding.reset();
    let start = 0;
    for (const [i, end] of ends.entries()) {
      encoding.encodeUtf8(bytes, view, start, end, parseSpecialTokens);
      tokenEnds[i] = encoding.length;
      start = end;
    }
    return { tokens: encoding.copy(), ends: tokenEnds };
  },
  ({ tokens, ends }) => transferList(tokens, ends),
);
