/**
 * Settings of the native backend. All work before `initializeBackend` too; where the addon cannot be loaded, those that only choose how fast
 * something runs do nothing.
 */
import { KernelsError } from '../kernels-error';
import type { NativeAddon } from './addon';
import { loadAddon } from './load-addon';
import type { MatmulPrecision, NativeBackend } from './native-backend';
import { registerNativeBackend } from './register';

/** The backend, registered if need be; undefined where the addon cannot be loaded. */
export function nativeBackend(): NativeBackend | undefined {
  const { addon } = loadAddon();
  return addon === undefined ? undefined : registerNativeBackend(addon);
}

/**
 * How many threads kernels use, in the whole process; 0 = one a core. Results do not depend on it.
 *
 * @throws KernelsError WRONG_OPTION
 */
export function setThreadCount(count: number): void {
  if (!Number.isInteger(count) || count < 0 || count > 1024) {
    throw new KernelsError('WRONG_OPTION', `The thread count must be an integer from 0 to 1024, but is ${count}.`, {
      value: count,
    });
  }
  loadAddon().addon?.setThreadCount(count);
}

/** Threads in use; 1 where the addon cannot be loaded. */
export function threadCount(): number {
  return loadAddon().addon?.threadCount() ?? 1;
}

/**
 * What inputs of matrix products are rounded to; sums stay float32. Faster with 'bfloat16' where the processor multiplies it (AVX512-BF16);
 * 'tensorfloat32' counts as 'float32' here.
 */
export function setMatmulPrecision(precision: MatmulPrecision): void {
  const backend = nativeBackend();
  if (backend !== undefined) backend.matmulPrecision = precision === 'bfloat16' ? 'bfloat16' : 'float32';
}

/**
 * Forces one of `nativeVariants()` ('' = the best again), in the whole process: for tests and comparisons.
 *
 * @throws KernelsError VARIANT_UNKNOWN, VARIANT_UNSUPPORTED, NATIVE_UNAVAILABLE
 */
export function setNativeVariant(name: string): void {
  const addon = requireAddon();
  const backend = nativeBackend();
  try {
    addon.setVariant(name);
    if (backend !== undefined) backend.variantChanges++;
  } catch (error) {
    const code = (error as { code?: string }).code ?? 'VARIANT_UNKNOWN';
    throw new KernelsError(code, (error as Error).message, {
      value: name,
      remedy: `This machine runs ${addon.variants().join(', ')}.`,
      cause: error,
    });
  }
}

/** The instruction-set variants this machine can run, best first; empty where the addon cannot be loaded. */
export function nativeVariants(): string[] {
  return loadAddon().addon?.variants() ?? [];
}

/** Fills every output with NaN before its kernel runs, so that an element nobody writes shows: for tests. */
export function setPoisonOutputs(poison: boolean): void {
  const backend = nativeBackend();
  if (backend !== undefined) backend.poisonOutputs = poison;
}

function requireAddon(): NativeAddon {
  const loaded = loadAddon();
  if (loaded.addon === undefined) {
    throw new KernelsError('NATIVE_UNAVAILABLE', loaded.reason, { remedy: loaded.remedy });
  }
  return loaded.addon;
}
