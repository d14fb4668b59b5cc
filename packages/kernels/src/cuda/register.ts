/** Makes the backend known to tfjs: its own kernels, and for every other operation tfjs's CPU kernel on copies. */
import { findBackend, getKernelsForBackend, registerBackend, registerKernel } from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { silenceFirstUse } from '../backends/tfjs-adapters';
import { KernelsError } from '../kernels-error';
import type { CudaAddon } from './addon';
import { CudaBackend } from './cuda-backend';
import { runOnHost } from './fallback';
import { type CudaKernel, defineKernel } from './kernel-definition';
import { attentionKernels } from './kernels/attention';
import { decoderStepKernels } from './kernels/decoder-step';
import { feedForwardKernels } from './kernels/feed-forward';
import { linearKernels } from './kernels/linear';
import { rowKernels } from './kernels/rows';
import { stockArithmeticKernels } from './kernels/stock-arithmetic';
import { stockReductionKernels } from './kernels/stock-reductions';
import { stockSelectionKernels } from './kernels/stock-selection';
import { stockShapingKernels } from './kernels/stock-shaping';
import { trainingKernels } from './kernels/training';

export const cudaKernels: readonly CudaKernel[] = [
  ...rowKernels,
  ...linearKernels,
  ...attentionKernels,
  ...feedForwardKernels,
  ...decoderStepKernels,
  ...trainingKernels,
  ...stockArithmeticKernels,
  ...stockReductionKernels,
  ...stockSelectionKernels,
  ...stockShapingKernels,
];

/** Above `native` (4) and tfjs's own backends. */
const priority = 5;

/**
 * Starts the device and registers the backend under `name`, once; later calls return the same one.
 *
 * @throws KernelsError CUDA_UNAVAILABLE
 */
export function registerCudaBackend(addon: CudaAddon, name = 'cuda', ordinal = 0): CudaBackend {
  const known = findBackend(name);
  if (known instanceof CudaBackend) return known;
  const probe = addon.probe();
  if (!probe.available) throw new KernelsError('CUDA_UNAVAILABLE', probe.reason, { remedy: probe.remedy });
  if (probe.devices[ordinal] === undefined) {
    throw new KernelsError('CUDA_UNAVAILABLE', `There is no GPU ${ordinal}, but ${probe.devices.length} from 0 on.`, {
      value: ordinal,
    });
  }
  addon.start(ordinal);
  const backend = new CudaBackend(addon, probe.devices[ordinal]);
  registerBackend(name, () => backend, name === 'cuda' ? priority : 0);
  const own = new Set(cudaKernels.map((kernel) => kernel.name));
  for (const kernel of cudaKernels) {
    registerKernel({ kernelName: kernel.name, backendName: name, kernelFunc: kernel.run });
  }
  for (const { kernelName } of getKernelsForBackend('cpu')) {
    if (own.has(kernelName)) continue;
    const kernel = defineKernel<object>(kernelName, (inputs, attributes, one) =>
      runOnHost(kernelName, inputs, attributes, one),
    );
    registerKernel({ kernelName, backendName: name, kernelFunc: kernel.run });
  }
  findBackend('cpu');
  silenceFirstUse('cpu');
  findBackend(name);
  return backend;
}
