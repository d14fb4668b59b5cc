/**
 * The few members of tfjs's engine that its types call private and that a tape walk cannot do without.
 *
 * Contract: everything that depends on tfjs's internals is named here, and checked once, so that a tfjs version that moved them
 * fails with a KernelsError that says so instead of a TypeError deep in a training step. Costs nothing.
 */
import { engine, type Tensor } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';

/** One recorded operation: what it read, what it wrote, what it kept for the backward pass. */
export interface TapeNode {
  id: number;
  kernelName: string;
  inputs: Record<string, Tensor>;
  outputs: Tensor[];
  saved?: Tensor[];
  /** A null entry of `dys` is replaced by zeros, made and uploaded by tfjs. */
  gradient?: (dys: (Tensor | null)[]) => Record<string, () => Tensor>;
}

export interface EngineInternals {
  state: {
    activeTape: TapeNode[] | null | undefined;
    gradientDepth: number;
    kernelDepth: number;
    activeScope: { id: number } | null;
  };
  startTape(): void;
  endTape(): void;
  tidy<T>(f: () => T): T;
  keep(tensor: Tensor): Tensor;
  runKernelFunc(parameters: {
    forwardFunc: (backend: unknown, save: (tensors: Tensor[]) => void) => Tensor | Tensor[];
    backwardsFunc: (dy: Tensor | Tensor[], saved: Tensor[]) => Record<string, () => Tensor>;
    inputs: Record<string, Tensor>;
  }): Tensor | Tensor[];
}

let checked = false;

export function engineInternals(): EngineInternals {
  const internals = engine() as unknown as EngineInternals;
  if (!checked) {
    const present =
      typeof internals.startTape === 'function' &&
      typeof internals.endTape === 'function' &&
      typeof internals.runKernelFunc === 'function' &&
      typeof internals.state.gradientDepth === 'number';
    if (!present) {
      throw new KernelsError(
        'UNSUPPORTED_TENSORFLOW_JS',
        'This version of @tensorflow/tfjs-core records its gradient tape differently.',
        { remedy: 'Install @tensorflow/tfjs-core 4.22.' },
      );
    }
    checked = true;
  }
  return internals;
}

/** True while operations are being recorded for a gradient. */
export function isRecording(): boolean {
  const { gradientDepth, kernelDepth } = engineInternals().state;
  return gradientDepth > 0 && kernelDepth === 0;
}
