/**
 * A fixed set of worker threads that answer one request at a time each. Workers are started at once, kept until `close`,
 * and do not keep the process alive while idle.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parentPort, Worker, type TransferListItem } from 'node:worker_threads';
import { TokenizerError } from './errors.js';

export type WorkerEntry = 'count-worker' | 'encode-worker' | 'corpus-worker';

interface Reply<Response> {
  response?: Response;
  error?: { code?: TokenizerError['code']; message: string; stack?: string };
}

interface Pending<Response> {
  resolve: (response: Response) => void;
  reject: (error: unknown) => void;
}

/** The built file of a worker: beside this code in dist, or in ../dist while it runs from source. */
function entryUrl(entry: WorkerEntry): URL {
  const beside = new URL(`./${entry}.js`, import.meta.url);
  return existsSync(beside) ? beside : new URL(`../dist/${entry}.js`, import.meta.url);
}

/** `workers` as given, checked; by default one for each core. */
export function resolveWorkerCount(workers: number | undefined): number {
  if (workers === undefined) return availableParallelism();
  if (!Number.isInteger(workers) || workers < 0 || workers > 1024) {
    throw new TokenizerError('INVALID_OPTIONS', `workers is ${workers}.`, {
      value: workers,
      remedy: 'Give a whole number from 0 (this thread) to 1024.',
    });
  }
  return workers;
}

export class WorkerPool<Request, Response> {
  private readonly workers: Worker[];
  private readonly pending: (Pending<Response> | undefined)[];
  private readonly waiting: ((index: number) => void)[] = [];
  private readonly idle: number[] = [];
  private failure: TokenizerError | undefined;

  constructor(entry: WorkerEntry, size: number, workerData?: unknown) {
    this.pending = new Array<undefined>(size);
    this.workers = Array.from({ length: size }, (_, index) => this.start(entry, index, workerData));
    for (let index = size - 1; index >= 0; index--) this.idle.push(index);
  }

  get size(): number {
    return this.workers.length;
  }

  /** Runs a request on the next free worker. */
  async run(request: Request, transfer: readonly TransferListItem[] = []): Promise<Response> {
    const free = this.idle.pop();
    const index = free ?? (await new Promise<number>((resolve) => this.waiting.push(resolve)));
    return this.send(index, request, transfer).finally(() => {
      const next = this.waiting.shift();
      if (next === undefined) this.idle.push(index);
      else next(index);
    });
  }

  /** Runs one request on every worker; no other request may be under way. */
  async runOnEach(request: Request): Promise<Response[]> {
    return Promise.all(this.workers.map((_, index) => this.send(index, request, [])));
  }

  async close(): Promise<void> {
    this.failure ??= new TokenizerError('CLOSED', 'The workers were closed.');
    await Promise.all(this.workers.map((worker) => worker.terminate()));
    this.rejectAll(this.failure);
  }

  private async send(index: number, request: Request, transfer: readonly TransferListItem[]): Promise<Response> {
    if (this.failure !== undefined) throw this.failure;
    const worker = this.workers[index];
    return new Promise<Response>((resolve, reject) => {
      this.pending[index] = { resolve, reject };
      worker.ref();
      worker.postMessage(request, transfer);
    });
  }

  private start(entry: WorkerEntry, index: number, workerData: unknown): Worker {
    const worker = new Worker(entryUrl(entry), { workerData });
    worker.unref();
    worker.on('message', (reply: Reply<Response>) => {
      const pending = this.pending[index];
      this.pending[index] = undefined;
      worker.unref();
      if (pending === undefined) return;
      if (reply.error === undefined) pending.resolve(reply.response as Response);
      else {
        const { code, message, stack } = reply.error;
        pending.reject(new TokenizerError(code ?? 'WORKER_FAILED', message, { cause: stack }));
      }
    });
    const fail = (error: unknown) => {
      this.failure ??= new TokenizerError('WORKER_FAILED', `A ${entry} stopped: ${String(error)}.`, {
        cause: error,
        remedy: 'Run again with fewer workers if memory ran out.',
      });
      this.rejectAll(this.failure);
    };
    worker.on('error', fail);
    worker.on('exit', (code) => {
      if (code !== 0) fail(`exit code ${code}`);
    });
    return worker;
  }

  private rejectAll(error: TokenizerError): void {
    for (const [index, pending] of this.pending.entries()) {
      this.pending[index] = undefined;
      pending?.reject(error);
    }
  }
}

/** The worker's side: answers each request with what `handle` returns. */
export function serveRequests<Request, Response>(
  handle: (request: Request) => Promise<Response> | Response,
  transferables: (response: Response) => TransferListItem[] = () => [],
): void {
  const port = parentPort;
  if (port === null) throw new TokenizerError('WORKER_FAILED', 'This file is the entry point of a worker thread.');
  port.on('message', (request: Request) => {
    void (async () => {
      try {
        const response = await handle(request);
        port.postMessage({ response } satisfies Reply<Response>, transferables(response));
      } catch (error) {
        const { message, stack } = error as Error;
        const code = TokenizerError.isInstance(error) ? error.code : undefined;
        port.postMessage({ error: { code, message, stack } } satisfies Reply<Response>);
      }
    })();
  });
}

/** The buffers of arrays that are handed over whole: each must own all of its buffer. */
export function transferList(...arrays: readonly ArrayBufferView[]): ArrayBuffer[] {
  return [...new Set(arrays.map((array) => array.buffer as ArrayBuffer))];
}
