/** Helpers of the tape's tests: variables from a seed, and the peak of tracked bytes. */
import { engine, memory, type Tensor, tidy, variable, type Variable } from '@tensorflow/tfjs-core';
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
