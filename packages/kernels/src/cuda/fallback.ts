/**
 * Operations that have no kernel on the device: tfjs's CPU kernel computes them, on copies of their inputs.
 *
 * Costs a wait for the device and two copies, so the first use of each is reported, as a Node warning (`process.on('warning')`, code
 * XGEN_CPU_FALLBACK); operations without tensor inputs only make data, and are not.
 */
import {
  findBackend,
  getKernel,
  type NamedAttrMap,
  type NamedTensorInfoMap,
  type TensorInfo,
} from '@tensorflow/tfjs-core';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { KernelsError } from '../kernels-error';
import type { CudaBackend } from './cuda-backend';
import type { HostValues } from './physical-type';

const reported = new Set<string>();

/** Runs tfjs's CPU kernel of that name and brings its outputs to the device. */
export function runOnHost(
  name: string,
  inputs: object,
  attributes: object,
  backend: CudaBackend,
): TensorInfo | TensorInfo[] {
  const host = findBackend('cpu');
  if (!(host instanceof MathBackendCPU)) {
    throw new KernelsError('UNSUPPORTED', 'there is no kernel on the device, and no CPU backend to fall back to.');
  }
  const copies = new Set<object>();
  const lower = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(lower);
    if (!isTensorInfo(value)) return value;
    const values = backend.readSync(value.dataId);
    const copy = host.makeTensorInfo([...value.shape], value.dtype, values);
    copies.add(copy.dataId);
    return copy;
  };
  const entries = Object.entries(inputs);
  if (entries.length > 0) report(name);
  try {
    const lowered = Array.isArray(inputs)
      ? inputs.map(lower)
      : Object.fromEntries(entries.map(([key, value]) => [key, lower(value)]));
    const result = getKernel(name, 'cpu').kernelFunc({
      inputs: lowered as NamedTensorInfoMap,
      attrs: attributes as NamedAttrMap,
      backend: host,
    });
    const raise = (info: TensorInfo): TensorInfo => {
      copies.add(info.dataId);
      return backend.fromHost(host.readSync(info.dataId) as HostValues, info.shape, info.dtype);
    };
    return Array.isArray(result) ? result.map(raise) : raise(result);
  } finally {
    for (const dataId of copies) host.disposeData(dataId, true);
  }
}

function isTensorInfo(value: unknown): value is TensorInfo {
  return typeof value === 'object' && value !== null && 'dataId' in value && 'shape' in value;
}

function report(name: string): void {
  if (reported.has(name)) return;
  reported.add(name);
  process.emitWarning(
    `The operation ${name} has no kernel on the GPU for these inputs: tfjs's CPU kernel computes it, at the cost of copies. Said once.`,
    { type: 'KernelsWarning', code: 'XGEN_CPU_FALLBACK' },
  );
}
