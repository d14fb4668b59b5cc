/**
 * Drives a generation engine for many requests at once: one forward, its tokens to whoever asked, then a turn of the event
 * loop, so that new requests, hang-ups and /health get in between any two forwards. The engine belongs to the loop; nobody else
 * may step it. A forward that throws fails the requests under way and none that come later.
 */

import { ServeError } from '../errors.js';
import type { GenerationEvent, GenerationRequest, GenerationEngine } from '@xgen-small/model-core';

export interface GenerationListener {
  onEvent(event: GenerationEvent): void;
  /** The last call: no event follows. */
  onError(error: unknown): void;
}

export interface GenerationLoopOptions {
  /** Sequences that may wait for a place; the next is refused. */
  maximumWaiting: number;
  onStep?: (milliseconds: number, tokens: number) => void;
}

export class GenerationLoop {
  private readonly listeners = new Map<string, GenerationListener>();
  private running: Promise<void> | undefined;
  private closed = false;

  constructor(
    readonly engine: GenerationEngine,
    private readonly options: GenerationLoopOptions,
  ) {}

  /** Sequences under way or waiting. */
  get size(): number {
    return this.listeners.size;
  }

  /** @throws ServeError QUEUE_FULL or SHUTTING_DOWN where `count` more sequences cannot be taken. */
  admit(count: number): void {
    if (this.closed) throw new ServeError('SHUTTING_DOWN', 'The server is shutting down.');
    const { waiting } = this.engine;
    if (waiting + count > this.options.maximumWaiting) {
      throw new ServeError('QUEUE_FULL', `${waiting} generations wait already.`, {
        value: waiting,
        remedy: 'Try again in a moment.',
      });
    }
  }

  /** @throws ModelError as the engine does. */
  submit(request: GenerationRequest, listener: GenerationListener): string {
    const id = this.engine.add(request);
    this.listeners.set(id, listener);
    this.running ??= this.run().finally(() => {
      this.running = undefined;
    });
    return id;
  }

  /** Frees the sequence's place at once; its listener hears nothing more. */
  cancel(id: string): void {
    if (this.listeners.delete(id)) this.engine.cancel(id);
  }

  /** Refuses new sequences from now on; resolves when the last one is done or `grace` milliseconds have passed. */
  async close(grace: number): Promise<void> {
    this.closed = true;
    const { running } = this;
    if (running === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      running,
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, grace);
      }),
    ]);
    clearTimeout(timer);
    this.failAll(new ServeError('SHUTTING_DOWN', 'The server is shutting down.'));
    await running;
  }

  private async run(): Promise<void> {
    // A request is answered through callbacks set up after submit() returns.
    await nextTurn();
    while (this.listeners.size > 0) {
      this.step();
      await nextTurn();
    }
  }

  private step(): void {
    const started = performance.now();
    let events: GenerationEvent[];
    try {
      events = this.engine.step();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.failAll(new ServeError('GENERATION_FAILED', `The model failed: ${reason}`, { cause }));
      return;
    }
    this.options.onStep?.(performance.now() - started, events.length);
    for (const event of events) {
      const listener = this.listeners.get(event.id);
      if (!listener) continue;
      if (event.finishReason !== undefined) this.listeners.delete(event.id);
      try {
        listener.onEvent(event);
      } catch (error) {
        // One request's listener must not take the others down.
        this.cancel(event.id);
        listener.onError(error);
      }
    }
  }

  private failAll(error: ServeError): void {
    const failed = [...this.listeners];
    this.listeners.clear();
    for (const [id, listener] of failed) {
      this.engine.cancel(id);
      listener.onError(error);
    }
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
