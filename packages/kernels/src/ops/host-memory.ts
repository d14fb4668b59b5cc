/**
 * Reading and writing tensors where they lie in this process's memory.
 *
 * `cpu` and `native` keep typed arrays, `wasm` keeps bytes of its heap: there, a loop over the array is the fastest generic
 * implementation of scatters, samplers and updates in place. Everywhere else (`tensorflow`), `hostView` returns
 * undefined and the caller composes stock operations.
 */
import { engine, type Tensor } from '@tensorflow/tfjs-core';

type HostArray = Float32Array | Int32Array;

interface MaybeHostBackend {
  typedArrayFromHeap?: (info: { dataId: object; shape: number[]; dtype: string }) => HostArray | Uint8Array;
  /** `native` keeps its array under `array`; asking it for `values` would mark the array as given away. */
  data?: { get(dataId: object): { values?: unknown; array?: unknown } | undefined };
}

/** True where the active backend's tensors can be read without copying from a device. */
export function isHostBackend(): boolean {
  const name = engine().backendName;
  return name === 'cpu' || name === 'wasm' || name === 'native';
}

/**
 * The tensor's own memory, or undefined on backends that keep it elsewhere. Writing to it changes every tensor that shares
 * the data (clones, reshapes). On `wasm` the view is valid until the next allocation.
 */
export function hostView(tensor: Tensor): HostArray | undefined {
  if (!isHostBackend()) return undefined;
  const backend = engine().backend as unknown as MaybeHostBackend;
  if (backend.typedArrayFromHeap !== undefined) {
    const view = backend.typedArrayFromHeap({ dataId: tensor.dataId, shape: tensor.shape, dtype: tensor.dtype });
    return view instanceof Uint8Array ? undefined : view;
  }
  const data = backend.data?.get(tensor.dataId);
  const values = data?.array ?? data?.values;
  return values instanceof Float32Array || values instanceof Int32Array ? values : undefined;
}

/** The values to read: the tensor's own array where it stays in place, else a copy. Never write to the result. */
export function readValues(tensor: Tensor): HostArray {
  // The heap of `wasm` moves when it grows: a view may not be held across an allocation.
  const view = engine().backendName === 'wasm' ? undefined : hostView(tensor);
  return view ?? (tensor.dataSync() as HostArray);
}
