/**
 * The device kernels, compiled for the CPU and run in emulation (native/cuda/include/xgen/cuda/emulation.h): every operation against
 * float64, over odd sizes, with poisoned outputs and guarded memory, in two orders of threads that must agree to the bit.
 */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const packageFolder = join(dirname(fileURLToPath(import.meta.url)), '../..');

async function run(command: string, ...options: string[]): Promise<string> {
  const child = spawn(command, options);
  let output = '';
  child.stdout.on('data', (text) => (output += String(text)));
  child.stderr.on('data', (text) => (output += String(text)));
  const status = await new Promise<number | string | null>((resolve) => {
    child.on('error', ({ message }) => resolve(message));
    child.on('close', (code, signal) => resolve(code ?? signal));
  });
  expect(status, `${command} ${options.join(' ')}:\n${output}`).toBe(0);
  return output;
}

it('agrees with float64, in emulation', { timeout: 1_200_000 }, async () => {
  // Does nothing where `pnpm test` has built it.
  await run(process.execPath, join(packageFolder, 'scripts', 'build-native.mjs'), '--cuda-emulated');
  const test = join(packageFolder, 'build', 'cmake-cuda-emulated', 'kernels_test');
  expect(await run(test, '--threads', '2')).toMatch(/^\d+ cases, 0 failed/m);
});
