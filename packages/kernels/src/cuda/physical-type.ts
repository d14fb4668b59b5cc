/** How elements lie in device memory, numbered as in `ElementType` (native/cuda/include/xgen/cuda/operations.h). */
import type { DataType } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';

export const float32 = 0;
export const bfloat16 = 1;
export const int32 = 2;
export const uint8 = 3;

export type PhysicalType = typeof float32 | typeof bfloat16 | typeof int32 | typeof uint8;
export type FloatingType = typeof float32 | typeof bfloat16;

export const physicalNames = ['float32', 'bfloat16', 'int32', 'uint8'] as const;
export const physicalBytes = [4, 2, 4, 1] as const;

/** The type that holds a logical dtype's values exactly. */
export function exactType(dtype: DataType): PhysicalType {
  if (dtype === 'float32') return float32;
  if (dtype === 'int32') return int32;
  if (dtype === 'bool') return uint8;
  throw new KernelsError('UNSUPPORTED', `Tensors of dtype ${dtype} do not live on the device.`, { value: dtype });
}

export function isFloating(type: PhysicalType): type is FloatingType {
  return type === float32 || type === bfloat16;
}

export type HostValues = Float32Array | Int32Array | Uint8Array;

/** A typed array of the logical dtype, uncleared content aside. */
export function hostArray(dtype: DataType, count: number): HostValues {
  if (dtype === 'float32') return new Float32Array(count);
  if (dtype === 'int32') return new Int32Array(count);
  return new Uint8Array(count);
}

export function bytesOf(values: HostValues): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
