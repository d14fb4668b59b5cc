/** Finding and loading the CUDA addon, or the one for the emulated device; once a JavaScript environment, never throws. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageFolder, readNote } from '../native/load-addon';
import type { CudaAddon } from './addon';

export type LoadedCudaAddon = { addon: CudaAddon } | { addon?: undefined; reason: string; remedy: string };

const rebuild = "Build it with `npx xgen-build-native --cuda` (needs CMake and NVIDIA's CUDA toolkit).";
const loaded = new Map<string, LoadedCudaAddon>();

/** The addon for NVIDIA GPUs (`cuda`) or for the emulated device (`cuda-emulated`), or why there is none and what to do. */
export function loadCudaAddon(name: 'cuda' | 'cuda-emulated' = 'cuda'): LoadedCudaAddon {
  let result = loaded.get(name);
  if (result === undefined) loaded.set(name, (result = load(packageFolder(), name)));
  return result;
}

function load(folder: string | undefined, name: string): LoadedCudaAddon {
  if (folder === undefined) return { reason: 'The package was moved away from its own files.', remedy: rebuild };
  const file = join(folder, 'build', `xgen_${name.replace('-', '_')}.node`);
  if (!existsSync(file)) {
    return readNote(folder, name) ?? { reason: 'The CUDA addon is not built.', remedy: rebuild };
  }
  try {
    return { addon: createRequire(import.meta.url)(file) as CudaAddon };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { reason: `The CUDA addon does not load: ${message}`, remedy: rebuild };
  }
}
