/** What `initializeBackend` and `describeBackends` ask of the native backend. */
import type { BackendAdapter } from '../backends/backend-adapter';
import { loadAddon } from './load-addon';
import { nativeBackend } from './settings';

export const nativeAdapter: BackendAdapter = {
  name: 'native',
  describe: async () => {
    const loaded = loadAddon();
    if (loaded.addon === undefined) {
      return { name: 'native', available: false, detail: loaded.reason, remedy: loaded.remedy };
    }
    const [variant, threads] = [loaded.addon.variant(), loaded.addon.threadCount()];
    return {
      name: 'native',
      available: true,
      detail: `C++ kernels (${variant}), ${threads} ${threads === 1 ? 'thread' : 'threads'}.`,
      threads,
      variant,
      variants: loaded.addon.variants(),
    };
  },
  register: async () => {
    nativeBackend();
  },
};
