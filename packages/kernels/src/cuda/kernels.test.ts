/**
 * The device kernels, compiled for the CPU and run in emulation (native/cuda/include/xgen/cuda/emulation.h): every operation against
 * float64, over odd sizes, with poisoned outputs and guarded memory, in two orders of threads that must agree to the bit.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const packageFolder = join(dirname(fileURLToPath(import.meta.url)), '../..');
const build = join(packageFolder, 'build', 'cuda-kernels-test');

function run(command: string, ...options: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, options, { encoding: 'utf8', maxBuffer: 1 << 26 });
  expect(status, `${command} ${options.join(' ')}: ${error?.message ?? ''}\n${stdout}\n${stderr}`).toBe(0);
  return stdout;
}

it('agrees with float64, in emulation', { timeout: 600_000 }, () => {
  mkdirSync(build, { recursive: true });
  run('cmake', '-S', join(packageFolder, 'native', 'cuda', 'test'), '-B', build);
  run('cmake', '--build', build, '--parallel', '2');
  expect(run(join(build, 'kernels_test'), '--threads', '2')).toMatch(/^\d+ cases, 0 failed/m);
});
