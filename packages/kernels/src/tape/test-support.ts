/** Helpers of the tape's tests: variables from a seed, bytes that are held, kernels that run. */
import { type DataId, engine, memory, type Tensor, tidy, variable, type Variable } from '@tensorflow/tfjs-core';
import { normal, toTensor } from '../conformance/host-tensor';

export function normalVariable(shape: number[], seed: number, deviation = 1): Variable {
  return tidy(() => variable(toTensor(normal(shape, seed, deviation))));
}

/** The most bytes that were tracked at any moment while `f` ran, above what there was before. */
export function peakBytes(f: () => void): number {
  const tracked = engine() as unknown as { trackTensor: (tensor: Tensor, backend: unknown) => void };
  const original = tracked.trackTensor.bind(tracked);
  const before = memory().numBytes;
  let peak = 0;
  tracked.trackTensor = (tensor, backend) => {
    original(tensor, backend);
    peak = Math.max(peak, memory().numBytes - before);
  };
  try {
    f();
  } finally {
    delete (tracked as { trackTensor?: unknown }).trackTensor;
  }
  return peak;
}

/** Bytes of all data that live tensors refer to, each counted once however many tensors share it (`memory().numBytes` counts it for each). */
export function heldBytes(): number {
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
}

const sizes = new Map<DataId, number>();
{
  const tracked = Object.getPrototypeOf(engine()) as {
    trackTensor: (tensor: Tensor, backend: unknown) => void;
    removeDataId: (dataId: DataId, backend: unknown) => void;
  };
  const { trackTensor, removeDataId } = tracked;
  tracked.trackTensor = function (tensor, backend) {
    trackTensor.call(this, tensor, backend);
    sizes.set(tensor.dataId, tensor.size * 4);
  };
  tracked.removeDataId = function (dataId, backend) {
    removeDataId.call(this, dataId, backend);
    sizes.delete(dataId);
  };
}

/** The names of the kernels that `f` runs, clones and reshapes aside; a list that grows meanwhile. */
export function kernelsOf(f: (kernels: string[]) => void): string[] {
  const kernels: string[] = [];
  const running = engine() as unknown as { runKernelFunc: (parameters: { kernelName?: string }) => unknown };
  const { runKernelFunc } = running;
  running.runKernelFunc = function (parameters) {
    const { kernelName } = parameters;
    if (kernelName !== undefined && kernelName !== 'Identity' && kernelName !== 'Reshape') kernels.push(kernelName);
    return runKernelFunc.call(this, parameters);
  };
  try {
    f(kernels);
  } finally {
    delete (running as { runKernelFunc?: unknown }).runKernelFunc;
  }
  return kernels;
}
