/**
 * How a kernel is written: a function of inputs, attributes and the backend. Registration wraps it so that whatever goes wrong, here
 * or in the addon, reaches the caller as a KernelsError that names the kernel, the inputs' shapes and types, and the device.
 */
import type { KernelFunc, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import type { CudaBackend } from './cuda-backend';
import { physicalNames } from './physical-type';

export interface CudaKernel {
  name: string;
  run: KernelFunc;
}

/** A kernel with typed inputs (`I`) and attributes (`A`). */
export function defineKernel<I, A = object>(
  name: string,
  compute: (inputs: I, attributes: A, backend: CudaBackend) => TensorInfo | TensorInfo[],
): CudaKernel {
  return {
    name,
    run: ({ inputs, attrs, backend: anyBackend }) => {
      const backend = anyBackend as CudaBackend;
      try {
        return backend.within(name, () => compute(inputs as I, (attrs ?? {}) as A, backend));
      } catch (error) {
        throw describeFailure(name, inputs, backend, error);
      }
    },
  };
}

function describeFailure(name: string, inputs: NamedTensorInfoMap, backend: CudaBackend, error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const own = KernelsError.isInstance(error);
  if (own && error.message.startsWith(`${name}: `)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'NATIVE_FAILURE';
  const list = Object.entries(inputs)
    .slice(0, 8)
    .map(([key, info]) => `${key} ${describe(info, backend)}`)
    .join(', ');
  return new KernelsError(code, `${name}: ${error.message} (${list}; ${backend.device.name})`, {
    value: own ? error.value : undefined,
    cause: error,
  });
}

function describe(info: TensorInfo | undefined, backend: CudaBackend): string {
  if (info?.dataId === undefined) return 'missing';
  const type = backend.refCount(info.dataId) > 0 ? physicalNames[backend.typeOf(info)] : 'disposed';
  return `${info.dtype}${type === info.dtype ? '' : ` stored as ${type}`} [${info.shape.join(', ')}]`;
}
