import { PosttrainError } from '../errors.js';

/** Throws PosttrainError ABORTED, with the signal's reason as its cause. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted !== true) return;
  throw new PosttrainError('ABORTED', `${what} was interrupted.`, {
    value: signal.reason,
    remedy: 'Run the same again to continue.',
    cause: signal.reason,
  });
}

/** Lets timers, signals and sockets have their turn between long synchronous stretches. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
