/**
 * How a kernel is written: a function of inputs, attributes and the backend. Registration wraps it so that whatever goes wrong,
 * here or in the addon, reaches the caller as a KernelsError that names the kernel and the shapes and dtypes of its inputs.
 */
import type { KernelConfig, KernelFunc, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import type { NativeBackend } from './native-backend';

export interface NativeKernel {
  name: string;
  run: KernelFunc;
}

/** A kernel with typed inputs (`I`) and attributes (`A`). */
export function defineKernel<I, A = object>(
  name: string,
  compute: (inputs: I, attributes: A, backend: NativeBackend) => TensorInfo | TensorInfo[],
): NativeKernel {
  return {
    name,
    run: ({ inputs, attrs, backend }) => {
      try {
        return compute(inputs as I, (attrs ?? {}) as A, backend as NativeBackend);
      } catch (error) {
        throw describeFailure(name, inputs, error);
      }
    },
  };
}

export function toKernelConfig(kernel: NativeKernel): KernelConfig {
  return { kernelName: kernel.name, backendName: 'native', kernelFunc: kernel.run };
}

function describeFailure(name: string, inputs: NamedTensorInfoMap, error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const own = KernelsError.isInstance(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'NATIVE_FAILURE';
  const list = Object.entries(inputs)
    .slice(0, 8)
    .map(([key, info]) => `${key} ${info?.dtype} [${info?.shape.join(', ')}]`)
    .join(', ');
  return new KernelsError(code, `${name}: ${error.message} (${list})`, {
    value: own ? error.value : undefined,
    cause: error,
  });
}
