/**
 * A pool of worker threads that does a list of jobs in any order. The first failure stops the rest; an abort lets the jobs in flight
 * finish, so that nothing is left half-written.
 */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { CurationError } from '../errors.js';
import type { WorkerData, WorkerJob, WorkerReply } from './worker-protocol.js';

export interface PoolOptions<Job> {
  workers: number;
  workerData: WorkerData;
  signal?: AbortSignal;
  toMessage: (job: Job) => WorkerJob;
  onDone: (job: Job) => void;
}

export async function runInWorkers<Job>(jobs: readonly Job[], options: PoolOptions<Job>): Promise<void> {
  if (jobs.length === 0) return;
  const url = workerUrl();
  let next = 0;
  let failure: unknown;
  const lane = async (): Promise<void> => {
    const worker = new Worker(url, { workerData: options.workerData });
    try {
      while (next < jobs.length && failure === undefined && options.signal?.aborted !== true) {
        const job = jobs[next++];
        await ask(worker, options.toMessage(job));
        options.onDone(job);
      }
    } catch (error) {
      failure ??= error;
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.workers, jobs.length) }, lane));
  if (failure !== undefined) throw failure;
  throwIfAborted(options.signal);
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new CurationError('ABORTED', 'The curation was interrupted; what is finished is on disk.', {
      remedy: 'Run it again with the same plan and output folder to continue.',
      cause: signal.reason,
    });
  }
}

function ask(worker: Worker, message: WorkerJob): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      settle();
    };
    const onMessage = (reply: WorkerReply) =>
      done(() => {
        if (reply.ok) resolve();
        else reject(new CurationError(reply.code, reply.message, { value: reply.value }));
      });
    const onError = (error: unknown) =>
      done(() =>
        reject(
          new CurationError(
            'WORKER_FAILED',
            `A worker thread failed: ${error instanceof Error ? error.message : String(error)}.`,
            {
              remedy: 'Run again to continue; use fewer workers if memory ran out.',
              cause: error,
            },
          ),
        ),
      );
    const onExit = (code: number) =>
      done(() =>
        reject(new CurationError('WORKER_FAILED', `A worker thread exited with code ${code}.`, { value: code })),
      );
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage(message);
  });
}

/** The built worker: beside this file in `dist`, or in the package's `dist` when this runs from `src`. */
function workerUrl(): URL {
  const here = import.meta.url;
  const source = here.lastIndexOf('/src/');
  const url = here.endsWith('.ts')
    ? new URL('dist/curation-worker.js', here.slice(0, source + 1))
    : new URL('./curation-worker.js', here);
  if (!existsSync(fileURLToPath(url))) {
    throw new CurationError('WORKER_MISSING', `The worker file ${fileURLToPath(url)} does not exist.`, {
      value: fileURLToPath(url),
      remedy: 'Build the package (pnpm build); when bundling, copy curation-worker.js beside the bundle.',
    });
  }
  return url;
}
