/**
 * The few members of tfjs's engine that its types call private and that a tape walk cannot do without.
 *
 * Contract: everything that depends on tfjs's internals is named here, and checked once, so that a tfjs version that moved them
 * fails with a KernelsError that says so instead of a TypeError deep in a training step. Costs nothing.
 */
import { engine, type NamedAttrMap, type Tensor, type TensorInfo } from '@tensorflow/tfjs-core';
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
  backend: { incRef(dataId: object): void };
  makeTensorFromTensorInfo(info: TensorInfo): Tensor;
  runKernel(kernelName: string, inputs: KernelInputs, attributes?: NamedAttrMap): Tensor | Tensor[] | undefined;
}

/** What a kernel reads: by name, in a few stock operations by position; optional ones may be missing. */
export type KernelInputs = Record<string, Tensor | null | undefined> | Tensor[];

let checked = false;

export function engineInternals(): EngineInternals {
  const internals = engine() as unknown as EngineInternals;
  if (!checked) {
    const present =
      typeof internals.startTape === 'function' &&
      typeof internals.endTape === 'function' &&
      typeof internals.runKernel === 'function' &&
      typeof internals.makeTensorFromTensorInfo === 'function' &&
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

export type KernelObserver = (
  kernelName: string,
  inputs: KernelInputs,
  attributes: NamedAttrMap | undefined,
  outputs: readonly Tensor[],
) => void;

/** Runs `f`; `observer` sees every kernel that is recorded meanwhile. The tape alone would not tell a kernel's attributes. */
export function observeKernels<T>(observer: KernelObserver, f: () => T): T {
  const internals = engineInternals();
  const run = internals.runKernel.bind(internals);
  internals.runKernel = (kernelName, inputs, attributes) => {
    const outputs = run(kernelName, inputs, attributes);
    if (isRecording()) observer(kernelName, inputs, attributes, listOf(outputs));
    return outputs;
  };
  try {
    return f();
  } finally {
    // Uncovers the method of the class again.
    delete (internals as Partial<EngineInternals>).runKernel;
  }
}

/** A further handle to the data of a live tensor, which the caller disposes; nothing is recorded or computed. */
export function viewOf({ dataId }: Tensor, { shape, dtype }: Pick<TensorInfo, 'shape' | 'dtype'>): Tensor {
  const internals = engineInternals();
  internals.backend.incRef(dataId);
  return internals.keep(internals.makeTensorFromTensorInfo({ dataId, shape, dtype }));
}

export function listOf(outputs: Tensor | Tensor[] | undefined): Tensor[] {
  return outputs === undefined ? [] : [outputs].flat();
}
