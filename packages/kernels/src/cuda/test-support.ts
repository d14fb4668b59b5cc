/** What tests of the CUDA backend share: the emulated device, and comparing it with tfjs's CPU backend. */
import { engine, setBackend, type Tensor, tidy } from '@tensorflow/tfjs-core';
import { activate, cpuAdapter } from '../backends/tfjs-adapters';
import type { CudaBackend } from './cuda-backend';
import { loadCudaAddon } from './load-addon';
import { startCudaBackend } from './settings';

const loaded = loadCudaAddon('cuda-emulated');

/** Why the emulated device is not here, where it isn't. */
export const missing: string | undefined = loaded.addon === undefined ? loaded.reason : undefined;

/** Makes the emulated device tfjs's active backend, outputs poisoned, float32. */
export async function useEmulatedDevice(): Promise<CudaBackend> {
  const backend = startCudaBackend('cuda-emulated')!;
  await activate('cuda-emulated');
  backend.matmulPrecision = 'float32';
  backend.addon.setPoison(true);
  return backend;
}

/** The values of `f`'s outputs on a backend; what it made is gone afterwards. */
export async function valuesOn(name: 'cpu' | 'cuda-emulated', f: () => Tensor | Tensor[]): Promise<number[][]> {
  if (name === 'cpu') await cpuAdapter.register();
  await setBackend(name);
  const before = engine().memory().numTensors;
  const values = tidy(() => [f()].flat().map((tensor) => [...tensor.shape, -1, ...tensor.dataSync()]));
  if (engine().memory().numTensors !== before) throw new Error('tensors leaked');
  return values;
}
