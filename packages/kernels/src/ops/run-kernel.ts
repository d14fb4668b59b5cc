/**
 * How an operation reaches its fused kernel, where the active backend has one.
 */
import { engine, getKernel, type KernelConfig, type NamedAttrMap, type Tensor } from '@tensorflow/tfjs-core';

/** True where the active backend has `kernelName`; one map lookup. */
export function hasKernel(kernelName: string): boolean {
  const kernel: KernelConfig | undefined = getKernel(kernelName, engine().backendName);
  return kernel !== undefined;
}

/** Runs a fused kernel and returns its outputs as a list; recorded on the tape like every tfjs operation. */
export function runKernel(kernelName: string, inputs: Record<string, Tensor>, attributes: object = {}): Tensor[] {
  const outputs = engine().runKernel(kernelName, inputs, attributes as NamedAttrMap) as unknown as
    Tensor | Tensor[] | undefined;
  if (outputs === undefined) return [];
  return Array.isArray(outputs) ? outputs : [outputs];
}
