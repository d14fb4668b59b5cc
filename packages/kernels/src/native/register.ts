/** Makes the backend known to tfjs: every stock `cpu` kernel under the name `native`, then ours over them. */
import { findBackend, getKernelsForBackend, registerBackend, registerKernel } from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type { NativeAddon } from './addon';
import { toKernelConfig } from './kernel-definition';
import { attentionKernels } from './kernels/attention';
import { linearKernels } from './kernels/linear';
import { rowKernels } from './kernels/rows';
import { stockArithmeticKernels } from './kernels/stock-arithmetic';
import { stockShapingKernels } from './kernels/stock-shaping';
import { trainingKernels } from './kernels/training';
import { NativeBackend } from './native-backend';

const ownKernels = [
  ...rowKernels,
  ...linearKernels,
  ...attentionKernels,
  ...trainingKernels,
  ...stockArithmeticKernels,
  ...stockShapingKernels,
];

/** Above tfjs's own backends (wasm 2, cpu 1). */
const priority = 4;

/** Registers the backend once; later calls return the same one. */
export function registerNativeBackend(addon: NativeAddon): NativeBackend {
  const known = findBackend('native');
  if (known instanceof NativeBackend) return known;
  const backend = new NativeBackend(addon);
  registerBackend('native', () => backend, priority);
  const names = new Set(ownKernels.map(({ name }) => name));
  for (const config of getKernelsForBackend('cpu')) {
    if (!names.has(config.kernelName)) registerKernel({ ...config, backendName: 'native' });
  }
  for (const kernel of ownKernels) registerKernel(toKernelConfig(kernel));
  // Makes the instance, so that settings can be applied before the first tensor.
  findBackend('native');
  return backend;
}
