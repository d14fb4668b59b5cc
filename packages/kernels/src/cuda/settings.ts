/** Settings and state of the CUDA backend. All work before it is started too. */
import { engine, findBackend, type Tensor } from '@tensorflow/tfjs-core';
import type { MatmulPrecision } from '../native/native-backend';
import type { CudaMemory } from './addon';
import { CudaBackend } from './cuda-backend';
import { loadCudaAddon } from './load-addon';
import { bfloat16 } from './physical-type';
import { registerCudaBackend } from './register';

let wanted: MatmulPrecision = 'float32';
let deterministic = false;
const started = new Set<CudaBackend>();

/** The backend, started if need be. Throws KernelsError CUDA_UNAVAILABLE; undefined where the addon cannot be loaded. */
export function startCudaBackend(name: 'cuda' | 'cuda-emulated' = 'cuda'): CudaBackend | undefined {
  const { addon } = loadCudaAddon(name);
  if (addon === undefined) return undefined;
  const backend = registerCudaBackend(addon, name);
  if (!started.has(backend)) {
    backend.matmulPrecision = wanted;
    backend.deterministic = deterministic;
  }
  started.add(backend);
  return backend;
}

/** The active backend where it is this one. */
export function activeCudaBackend(): CudaBackend | undefined {
  const { backendName } = engine() as { backendName?: string };
  if (backendName === undefined) return undefined;
  const backend = findBackend(backendName);
  return backend instanceof CudaBackend ? backend : undefined;
}

export function setMatmulPrecision(precision: MatmulPrecision): void {
  wanted = precision;
  for (const backend of started) backend.matmulPrecision = precision;
}

export function setDeterministic(on: boolean): void {
  deterministic = on;
  for (const backend of started) backend.deterministic = on;
}

/** Device memory of the active backend, by size and by operation; undefined on backends that compute on the processor. */
export function deviceMemory(): CudaMemory | undefined {
  return activeCudaBackend()?.addon.statistics();
}

/** Counts the peaks of `deviceMemory` from now on. */
export function resetDeviceMemoryPeaks(): void {
  activeCudaBackend()?.addon.resetPeaks();
}

/** Waits until the device has done everything queued; does nothing on backends that compute on the processor. */
export function synchronizeDevice(): void {
  activeCudaBackend()?.addon.synchronizeDevice();
}

/** The values of several tensors, as `dataSync` of each gives them: with one wait for the device instead of one each. */
export function readTogether(tensors: readonly Tensor[]): (Float32Array | Int32Array | Uint8Array)[] {
  const backend = activeCudaBackend();
  if (backend === undefined) return tensors.map((tensor) => tensor.dataSync());
  return backend.readTogether(tensors.map(({ dataId }) => dataId));
}

/**
 * Stores a float32 tensor in bfloat16 from now on, where the active backend can, and says whether it did: half the memory, 8 bits of mantissa.
 * Meant for AdamW's moments, which are then rounded stochastically. The tensor must be the only owner of its data.
 */
export function storeInBfloat16(tensor: Tensor): boolean {
  const backend = activeCudaBackend();
  if (backend === undefined || tensor.dtype !== 'float32') return false;
  backend.store(tensor, bfloat16);
  return true;
}
