/** What the backend keeps for one tensor's data: an array on the device, values on the host, or both while they agree. */
import type { DataType } from '@tensorflow/tfjs-core';
import type { Handle } from './addon';
import type { HostValues, PhysicalType } from './physical-type';

export class CudaTensorData {
  refCount = 1;
  /** 0 until something on the device needs it. */
  handle: Handle = 0;
  /**
   * The values, where they are few and were written by the host; dropped by whoever changes the array. Strings live only here.
   */
  host?: HostValues | Uint8Array[];
  /** A bfloat16 copy of a float32 array, for matrix products; AdamW keeps it up to date, other changes drop it. */
  shadow: Handle = 0;

  constructor(
    readonly dtype: DataType,
    readonly count: number,
    /** How the device's array stores its elements. */
    public type: PhysicalType,
  ) {}
}
