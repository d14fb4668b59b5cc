/**
 * Server-sent events as OpenAI sends them: `data: {json}` and at the end `data: [DONE]`. An error on the way becomes an event
 * with OpenAI's error object, since the status is gone by then. A comment goes out while nothing else does, so that proxies
 * keep the connection. Reads ahead only as fast as the client takes what it gets.
 */

import { toApiError } from './api-error.js';

const keepAlive = 15_000;

export interface EventStreamOptions {
  chunks: AsyncIterator<object[], void>;
  /** Called once, however the stream ends. */
  onEnd: (error?: unknown) => void;
  /** The client is gone. */
  onCancel: () => void;
}

export function eventStream({ chunks, onEnd, onCancel }: EventStreamOptions): Response {
  const encoder = new TextEncoder();
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  const end = (error?: unknown): void => {
    clearInterval(timer);
    if (ended) return;
    ended = true;
    onEnd(error);
  };
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      timer = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(': waiting\n\n'));
      }, keepAlive);
      timer.unref();
    },
    async pull(controller) {
      try {
        const next = await chunks.next();
        if (ended) return;
        if (next.done !== true) {
          controller.enqueue(encoder.encode(next.value.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')));
          return;
        }
        controller.enqueue(encoder.encode('data: [DONE]\n\n'));
        end();
      } catch (error) {
        if (ended) return;
        controller.enqueue(encoder.encode(`data: ${JSON.stringify(toApiError(error).body)}\n\n`));
        end(error);
      }
      controller.close();
    },
    async cancel() {
      onCancel();
      end();
      await chunks.return?.();
    },
  });
  return new Response(stream, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      // Tells the Node adapter to send each chunk at once, and nginx the same.
      'transfer-encoding': 'chunked',
      'x-accel-buffering': 'no',
    },
  });
}
