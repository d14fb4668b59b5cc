/**
 * All choices of one request as one stream of deltas, in the order in which they come. Ends when every choice has finished;
 * leaving it early (`return`, or the signal) cancels what is still under way.
 */

import { Choice, type ChoiceDelta } from './choice.js';
import type { GenerationLoop } from './generation-loop.js';
import type { ServeTokenizer } from '../types.js';
import type { GenerationRequest } from '@xgen-small/model-core';

export interface ChoicesRequest {
  /** One sequence a choice. */
  sequences: readonly GenerationRequest[];
  stops: readonly string[];
  wantsDetails: boolean;
}

export interface IndexedDelta extends ChoiceDelta {
  index: number;
}

export interface ChoicesResult {
  deltas: AsyncGenerator<IndexedDelta[], void, undefined>;
  completionTokens: () => number;
}

/** @throws ServeError QUEUE_FULL and SHUTTING_DOWN, ModelError: before anything is generated. */
export function generateChoices(
  loop: GenerationLoop,
  tokenizer: ServeTokenizer,
  request: ChoicesRequest,
  signal: AbortSignal,
): ChoicesResult {
  loop.admit(request.sequences.length);
  const choices = request.sequences.map(
    (_, index) => new Choice(index, tokenizer, request.stops, request.wantsDetails),
  );
  const live = new Map<string, Choice>();
  let ready: IndexedDelta[] = [];
  let failure: { error: unknown } | undefined;
  let wake: (() => void) | undefined;
  const notify = (): void => {
    wake?.();
    wake = undefined;
  };
  const cancel = (): void => {
    for (const id of live.keys()) loop.cancel(id);
    live.clear();
    notify();
  };
  try {
    request.sequences.forEach((sequence, index) => {
      const choice = choices[index];
      const id: string = loop.submit(sequence, {
        onEvent: (event) => {
          const delta = choice.push(event);
          if (delta.finishReason !== undefined) {
            if (event.finishReason === undefined) loop.cancel(id);
            live.delete(id);
          }
          if (delta.text === '' && delta.details.length === 0 && delta.finishReason === undefined) return;
          ready.push({ index, ...delta });
          notify();
        },
        onError: (error) => {
          live.delete(id);
          failure ??= { error };
          notify();
        },
      });
      live.set(id, choice);
    });
  } catch (error) {
    cancel();
    throw error;
  }
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();

  async function* deltas(): AsyncGenerator<IndexedDelta[], void, undefined> {
    try {
      for (;;) {
        if (ready.length > 0) {
          const batch = ready;
          ready = [];
          yield batch;
        } else if (failure !== undefined) {
          throw failure.error;
        } else if (live.size === 0) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener('abort', cancel);
      cancel();
    }
  }
  return {
    deltas: deltas(),
    completionTokens: () => choices.reduce((sum, choice) => sum + choice.completionTokens, 0),
  };
}
