/** The backends that tfjs itself brings: `cpu`, `wasm`, and `tensorflow` where one of its Node packages is installed. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { env, findBackend, getBackend, setBackend } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import type { BackendAdapter, BackendDescription } from './backend-adapter';

export const cpuAdapter: BackendAdapter = {
  name: 'cpu',
  describe: async () => ({
    name: 'cpu',
    available: true,
    detail: 'TensorFlow.js in plain JavaScript, under 1 GFLOP/s: for tests and tiny models.',
    threads: 1,
  }),
  register: async () => {
    await import('@tensorflow/tfjs-backend-cpu');
    silenceFirstUse('cpu');
  },
};

export const wasmAdapter: BackendAdapter = {
  name: 'wasm',
  describe: async () => {
    const working = 'WebAssembly' in globalThis;
    return {
      name: 'wasm',
      available: working,
      detail: working
        ? 'TensorFlow.js in WebAssembly, one thread in Node.'
        : 'This Node was started without WebAssembly.',
      remedy: working ? undefined : 'Start Node without --jitless.',
      threads: 1,
    };
  },
  register: async () => {
    await import('@tensorflow/tfjs-backend-wasm');
  },
};

const tensorflowPackages = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'];

/** `resolve` finds a package's entry file, and throws where it is not installed. */
export function createTensorflowAdapter(resolve: (name: string) => string): BackendAdapter {
  return {
    name: 'tensorflow',
    describe: async () => {
      const failures: string[] = [];
      for (const name of tensorflowPackages) {
        const path = resolveOrUndefined(resolve, name);
        if (path === undefined) continue;
        try {
          await import(pathToFileURL(path).href);
          return { name: 'tensorflow', available: true, detail: `libtensorflow through ${name}.` };
        } catch (error) {
          failures.push(`${name} is installed but does not load (${firstLine(error)}).`);
        }
      }
      const description: BackendDescription = {
        name: 'tensorflow',
        available: false,
        detail: failures.length > 0 ? failures.join(' ') : 'No @tensorflow/tfjs-node or tfjs-node-gpu is installed.',
        remedy:
          failures.length > 0
            ? 'Its install script downloads libtensorflow: allow that script (allowBuilds in pnpm-workspace.yaml) and install again.'
            : 'Install @tensorflow/tfjs-node beside this package (tfjs-node-gpu for CUDA 11).',
      };
      return description;
    },
    // Loading the package has registered it.
    register: async () => undefined,
  };
}

export const tensorflowAdapter = createTensorflowAdapter((name) => createRequire(import.meta.url).resolve(name));

/**
 * Makes `name` tfjs's active backend without a word on the console.
 *
 * @throws KernelsError BACKEND_UNAVAILABLE when tfjs cannot start it
 */
export async function activate(name: string): Promise<void> {
  // tfjs warns on the console unless PROD is set; here the reason goes into the error instead.
  const production = env().getBool('PROD');
  env().set('PROD', true);
  try {
    const started = await setBackend(name);
    if (!started || getBackend() !== name) {
      throw new KernelsError('BACKEND_UNAVAILABLE', `TensorFlow.js could not start its backend ${name}.`, {
        value: name,
      });
    }
  } finally {
    env().set('PROD', production);
  }
}

/** tfjs's CPU backend prints a banner on its first write unless told that it has done so. */
export function silenceFirstUse(name: string): void {
  const backend = findBackend(name) as unknown as { firstUse?: boolean } | undefined;
  if (backend?.firstUse !== undefined) backend.firstUse = false;
}

function resolveOrUndefined(resolve: (name: string) => string, name: string): string | undefined {
  try {
    return resolve(name);
  } catch {
    return undefined;
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0];
}
