/**
 * Ctrl-C and SIGTERM abort the work and let it save its state; a second one ends the process at once. Rejects with
 * INTERRUPTED, so that the exit code says what happened.
 */
import { TrainerError } from '../errors.js';

export async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  let received: NodeJS.Signals | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    if (received) process.exit(exitCodeOf(name));
    received = name;
    process.stderr.write('\nStopping after saving; once more stops at once.\n');
    controller.abort(new DOMException(`Interrupted by ${name}`, 'AbortError'));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    await work(controller.signal);
  } catch (error) {
    // The work may have wrapped the abort in its own error: what counts is that a signal came.
    if (received) {
      throw new TrainerError('INTERRUPTED', 'Interrupted. Run the same command to continue.', {
        value: exitCodeOf(received),
        cause: error,
      });
    }
    throw error;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

function exitCodeOf(signal: NodeJS.Signals): number {
  return signal === 'SIGINT' ? 130 : 143;
}
