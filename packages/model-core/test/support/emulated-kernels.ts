/**
 * The kernels package with the emulated CUDA device in the place of a GPU: a copy of the built package in which the emulated addon has the real
 * one's name, for `vi.mock`. Without the emulated addon it is the package itself, and `missing` says why.
 */
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as Package from '@xgen-small/kernels';

type Kernels = typeof Package;

const original = realpathSync(dirname(createRequire(import.meta.url).resolve('@xgen-small/kernels/package.json')));
const addon = join(original, 'build', 'xgen_cuda_emulated.node');

/** Why the emulated device is not here, where it isn't. */
export const missing = existsSync(addon)
  ? undefined
  : 'the emulated CUDA addon is not built: node packages/kernels/scripts/build-native.mjs --cuda-emulated';

async function staged(): Promise<Kernels> {
  const home = mkdtempSync(join(tmpdir(), 'model-core-kernels-'));
  process.on('exit', () => rmSync(home, { recursive: true, force: true }));
  // In a node_modules, so that it is imported as it is.
  const copy = join(home, 'node_modules', 'kernels');
  mkdirSync(join(copy, 'build'), { recursive: true });
  for (const name of ['package.json', 'CMakeLists.txt']) copyFileSync(join(original, name), join(copy, name));
  cpSync(join(original, 'dist'), join(copy, 'dist'), { recursive: true });
  copyFileSync(addon, join(copy, 'build', 'xgen_cuda.node'));
  symlinkSync(join(original, 'node_modules'), join(copy, 'node_modules'));
  return (await import(/* @vite-ignore */ pathToFileURL(join(copy, 'dist', 'index.js')).href)) as Kernels;
}

export const kernels: Kernels =
  missing === undefined ? await staged() : ((await import(join(original, 'dist', 'index.js'))) as Kernels);
