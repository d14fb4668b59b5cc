/**
 * Threads and the precision of matrix products. Both may be set before or after `initializeBackend`; backends without the choice keep what
 * they have, and the functions say what that is.
 */
import { engine } from '@tensorflow/tfjs-core';
import {
  activeCudaBackend,
  setDeterministic as setCudaDeterministic,
  setMatmulPrecision as setCudaPrecision,
} from '../cuda/index';
import { KernelsError } from '../kernels-error';
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
 * Chooses how exactly the decoder's operations compute: `float32` (the default), `tensorfloat32` (on `cuda`, products round their operands to
 * it; elsewhere as float32), or `bfloat16`: on `native` products round their operands to it, on `cuda` activations are stored in it as well. Sums are
 * float32 in any case. Returns the precision of the active backend: always `float32` on `cpu` and `wasm`.
 *
 * @throws KernelsError WRONG_OPTION
 */
export function setMatmulPrecision(precision: MatmulPrecision): MatmulPrecision {
  if (!precisions.includes(precision)) {
    throw new KernelsError('WRONG_OPTION', `There is no precision ${JSON.stringify(precision)}.`, {
      value: precision,
      remedy: `Use ${precisions.join(', ')}.`,
    });
  }
  setNativePrecision(precision);
  setCudaPrecision(precision);
  const active = activeCudaBackend();
  if (active !== undefined) return active.matmulPrecision;
  return mayUseNative() ? (nativeBackend()?.matmulPrecision ?? 'float32') : 'float32';
}

/**
 * Whether every operation must give the same bits on every run, on one kind of device. On `cuda` attention is then computed by the kernels
 * here instead of cuDNN's, whose gradient adds in no fixed order; everything else, and every other backend, always is deterministic.
 * Off at first.
 */
export function setDeterministic(deterministic: boolean): void {
  setCudaDeterministic(deterministic);
}

const precisions: readonly MatmulPrecision[] = ['float32', 'tensorfloat32', 'bfloat16'];

/** True where `native` is the active backend, or none is yet. */
function mayUseNative(): boolean {
  const { backendName } = engine() as { backendName?: string };
  return backendName === undefined || backendName === 'native';
}
