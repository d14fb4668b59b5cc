/**
 * Finding and loading the addon. Looks beside the package's own files (`build/`), whether the code runs from `dist/` or `src/`; loads
 * it once a JavaScript environment; never throws.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NativeAddon } from './addon';

export type LoadedAddon = { addon: NativeAddon } | { addon?: undefined; reason: string; remedy: string };

const rebuild = 'Build it with `npx xgen-build-native` (needs CMake and a C++ compiler: GCC or Clang).';

let loaded: LoadedAddon | undefined;

/** The addon, or why there is none and what to do. */
export function loadAddon(): LoadedAddon {
  loaded ??= loadAddonFrom(packageFolder());
  return loaded;
}

/** The addon of the package in `folder`. */
export function loadAddonFrom(folder: string | undefined): LoadedAddon {
  if (folder === undefined) return { reason: 'The package was moved away from its own files.', remedy: rebuild };
  const file = join(folder, 'build', 'xgen_native.node');
  if (!existsSync(file)) return readNote(folder) ?? { reason: 'The native addon is not built.', remedy: rebuild };
  try {
    return { addon: createRequire(import.meta.url)(file) as NativeAddon };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { reason: `The native addon does not load: ${message}`, remedy: rebuild };
  }
}

/** The folder above this file that holds the package: two steps up from src/native, one from dist. */
export function packageFolder(): string | undefined {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let steps = 0; steps < 4; steps++, folder = dirname(folder)) {
    if (existsSync(join(folder, 'CMakeLists.txt')) && existsSync(join(folder, 'package.json'))) return folder;
  }
  return undefined;
}

/** What the last build of an addon left behind when it gave up. */
export function readNote(folder: string, addon = 'native'): { reason: string; remedy: string } | undefined {
  try {
    const file = join(folder, 'build', `${addon}-note.json`);
    const note = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    if (typeof note.reason !== 'string' || typeof note.remedy !== 'string') return undefined;
    const detail = typeof note.detail === 'string' && note.detail !== '' ? ` ${note.detail}` : '';
    return { reason: `${note.reason}${detail}`, remedy: note.remedy };
  } catch {
    return undefined;
  }
}
