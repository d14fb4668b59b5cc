/**
 * What the backend keeps for one tensor's data.
 *
 * Stock kernels and `dataSync` take the array through `values`; they may keep it, or hand out views of it. From then on the array is
 * `shared`: it never goes back to the pool, and kernels that write in place copy it first, so an array once given out never
 * changes. Our own kernels use `array` and leave no trace.
 *
 * Whoever takes the array may also write to it, there and then; what was derived from the old values (`packed`) is dropped. Writing
 * to it later is not supported.
 */
import type { backend_util, DataType, TensorInfo } from '@tensorflow/tfjs-core';

/** A weight packed for products of few rows. */
export interface PackedWeight {
  bytes: Uint8Array;
  bfloat16: boolean;
  variant: number;
}

export class NativeTensorData {
  refCount: number;
  complexTensorInfos?: { real: TensorInfo; imag: TensorInfo };
  /** True once code outside our kernels may hold the array. */
  shared: boolean;
  /** Products of few rows with this matrix since it last may have changed. */
  smallProducts = 0;
  packed?: PackedWeight;

  constructor(
    public array: backend_util.BackendValues | undefined,
    readonly dtype: DataType,
    /** The array's buffer came from the pool. */
    public pooled: boolean,
    refCount = 1,
  ) {
    this.refCount = refCount;
    this.shared = !pooled;
  }

  get values(): backend_util.BackendValues | undefined {
    this.shared = true;
    this.smallProducts = 0;
    return this.array;
  }

  set values(array: backend_util.BackendValues | undefined) {
    this.array = array;
    this.pooled = false;
    this.shared = true;
    this.smallProducts = 0;
  }
}
