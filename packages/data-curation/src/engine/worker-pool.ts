/**
 * A pool of worker threads that does a list of jobs in any order. The first failure stops the rest; an abort lets the jobs in flight
 * finish, so that nothing is left half-written.
 */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { CurationError } from '../errors.js';
import type { WorkerData, WorkerJob, WorkerReply } from './worker-protocol.js';

export interface BatchOptions<Job> {
  signal?: AbortSignal;
  toMessage: (job: Job) => WorkerJob;
  onDone: (job: Job) => void;
}

export interface PoolSize {
  threads: number;
  /** Limit of V8's heap in each thread. */
  heapMebibytes: number;
}

/** Part of the heap for young objects: most of what a document needs is garbage before it is old. */
const youngMebibytes = 32;

export class WorkerPool {
  readonly #size: PoolSize;
  readonly #workerData: WorkerData;
  /** Thread-seconds by step of per-document work. */
  readonly timings: Record<string, number> = {};
  /** Threads started so far; they live until `close`, since each loads tables and a database. */
  readonly #threads: (Worker | undefined)[] = [];

  constructor(size: PoolSize, workerData: WorkerData) {
    this.#size = size;
    this.#workerData = workerData;
  }

  /** @throws what the first failing job threw, or CurationError `ABORTED`. */
  async run<Job>(jobs: readonly Job[], options: BatchOptions<Job>): Promise<void> {
    let next = 0;
    let failure: Error | undefined;
    const lane = async (_: unknown, index: number): Promise<void> => {
      try {
        while (next < jobs.length && failure === undefined && options.signal?.aborted !== true) {
          const job = jobs[next++];
          const thread = (this.#threads[index] ??= this.#start(index));
          const timings = await ask(thread, options.toMessage(job));
          for (const [step, milliseconds] of Object.entries(timings)) {
            this.timings[step] = (this.timings[step] ?? 0) + milliseconds / 1000;
          }
          options.onDone(job);
        }
      } catch (error) {
        failure ??= error instanceof Error ? error : new CurationError('WORKER_FAILED', String(error));
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.#size.threads, jobs.length) }, lane));
    if (failure !== undefined) throw failure;
    throwIfAborted(options.signal);
  }

  /** Ends the threads, which gives their memory back; `run` starts new ones. */
  async close(): Promise<void> {
    const threads = this.#threads.splice(0).filter((thread) => thread !== undefined);
    await Promise.all(
      threads.map(async (thread) => {
        const ended = new Promise((resolve) => thread.once('exit', resolve));
        thread.postMessage({ kind: 'stop' } satisfies WorkerJob);
        await ended;
      }),
    );
  }

  #start(index: number): Worker {
    // Without the parent's flags: some of them (--input-type) make a worker fail.
    const worker = new Worker(workerUrl(), {
      workerData: this.#workerData,
      execArgv: [],
      resourceLimits: {
        maxOldGenerationSizeMb: this.#size.heapMebibytes - youngMebibytes,
        maxYoungGenerationSizeMb: youngMebibytes,
      },
    });
    // While a job runs, `ask` hears of a failure; between jobs a dead thread only has to be replaced.
    worker.on('error', () => undefined);
    worker.on('exit', () => {
      if (this.#threads[index] === worker) this.#threads[index] = undefined;
    });
    return worker;
  }
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new CurationError('ABORTED', 'The curation was interrupted; what is finished is on disk.', {
      remedy: 'Run it again with the same plan and output folder to continue.',
      cause: signal.reason,
    });
  }
}

function ask(worker: Worker, message: WorkerJob): Promise<Record<string, number>> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      settle();
    };
    const onMessage = (reply: WorkerReply) =>
      done(() => {
        if (reply.ok) resolve(reply.timings);
        else reject(new CurationError(reply.code, reply.message, { value: reply.value, remedy: reply.remedy }));
      });
    const onError = (error: unknown) =>
      done(() =>
        reject(
          new CurationError(
            'WORKER_FAILED',
            `A worker thread failed: ${error instanceof Error ? error.message : String(error)}.`,
            {
              remedy:
                (error as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY'
                  ? 'Run again with a higher memoryLimit and the same number of workers or fewer, or let in smaller documents.'
                  : 'Run again to continue.',
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
