/**
 * Threads and the precision of matrix products. Both may be set before or after `initializeBackend`; backends without the choice keep what
 * they have, and the functions say what that is.
 */
import { engine } from '@tensorflow/tfjs-core';
import {
  type MatmulPrecision,
  nativeBackend,
  setMatmulPrecision as setNativePrecision,
  setThreadCount as setNativeThreadCount,
  threadCount,
} from '../native/index';

/**
 * Sets how many threads `native` computes with, this one included, in the whole process; 0 for one a core. Results don't depend on it.
 * Returns the threads the active backend uses: always 1 on `cpu` and `wasm`.
 *
 * @throws KernelsError WRONG_OPTION
 */
export function setThreadCount(count: number): number {
  setNativeThreadCount(count);
  return mayUseNative() ? threadCount() : 1;
}

/**
 * Chooses what `native` rounds the operands of matrix products to: `float32` (the default) or `bfloat16`, faster where the processor
 * multiplies it; sums stay float32. Returns the precision of the active backend: always `float32` on `cpu` and `wasm`.
 *
 * @throws KernelsError WRONG_OPTION
 */
export function setMatmulPrecision(precision: MatmulPrecision): MatmulPrecision {
  setNativePrecision(precision);
  return mayUseNative() ? (nativeBackend()?.matmulPrecision ?? 'float32') : 'float32';
}

/** True where `native` is the active backend, or none is yet. */
function mayUseNative(): boolean {
  const { backendName } = engine() as { backendName?: string };
  return backendName === undefined || backendName === 'native';
}
