/** What `initializeBackend` and `describeBackends` ask of the CUDA backend. */
import type { BackendAdapter } from '../backends/backend-adapter';
import type { CudaProbe } from './addon';
import { loadCudaAddon } from './load-addon';
import { startCudaBackend } from './settings';

export const cudaAdapter: BackendAdapter = {
  name: 'cuda',
  describe: async () => {
    const loaded = loadCudaAddon();
    if (loaded.addon === undefined) {
      return { name: 'cuda', available: false, detail: loaded.reason, remedy: loaded.remedy };
    }
    const probe = loaded.addon.probe();
    return probe.available
      ? { name: 'cuda', available: true, detail: describeDevice(probe) }
      : { name: 'cuda', available: false, detail: describeLack(probe), remedy: probe.remedy };
  },
  register: async () => {
    startCudaBackend();
  },
};

/** What is missing, and whether the libraries would be there once it is. */
function describeLack({ reason, library, attentionLibrary }: CudaProbe): string {
  const found = (text: string): string =>
    /^cu\w+ [\d.]+$/.test(text) ? `${text} was found.` : text.replace(/\.?$/, '.');
  return [reason, ...[library, attentionLibrary].filter((text) => text !== reason).map(found)].join(' ');
}

function describeDevice({ devices, library, attentionLibrary }: CudaProbe): string {
  const [{ name, major, minor, totalBytes, driverVersion, runtimeVersion }] = devices;
  const others = devices.length > 1 ? ` (the first of ${devices.length} GPUs)` : '';
  return (
    `${name}${others}, compute capability ${major}.${minor}, ${(totalBytes / 2 ** 30).toFixed(1)} GiB, ` +
    `driver for CUDA ${version(driverVersion)}, runtime ${version(runtimeVersion)}, ${library}, ${attentionLibrary}.`
  );
}

/** 13000 → 13.0. */
function version(number: number): string {
  return `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;
}
