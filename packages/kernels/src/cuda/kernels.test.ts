/**
 * The device kernels, compiled for the CPU and run in emulation (native/cuda/include/xgen/cuda/emulation.h): every operation against
 * float64, over odd sizes, with poisoned outputs and guarded memory, in two orders of threads that must agree to the bit. And compiled
 * by nvcc, where there is one.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const packageFolder = join(dirname(fileURLToPath(import.meta.url)), '../..');
const cuda = join(packageFolder, 'native', 'cuda');
const build = join(packageFolder, 'build', 'cuda-kernels-test');
const timeout = 600_000;

async function execute(command: string, ...options: string[]): Promise<{ status: number | null; output: string }> {
  const child = spawn(command, options);
  let output = '';
  child.stdout.on('data', (text) => (output += String(text)));
  child.stderr.on('data', (text) => (output += String(text)));
  return new Promise((resolve) => {
    child.on('error', ({ message }) => resolve({ status: null, output: message }));
    child.on('close', (status) => resolve({ status, output }));
  });
}

async function run(command: string, ...options: string[]): Promise<string> {
  const { status, output } = await execute(command, ...options);
  expect(status, `${command} ${options.join(' ')}:\n${output}`).toBe(0);
  return output;
}

it('agrees with float64, in emulation', { timeout }, async () => {
  mkdirSync(build, { recursive: true });
  await run('cmake', '-S', join(cuda, 'test'), '-B', build);
  await run('cmake', '--build', build, '--parallel', '2');
  expect(await run(join(build, 'kernels_test'), '--threads', '2')).toMatch(/^\d+ cases, 0 failed/m);
});

const { status: nvcc } = await execute('nvcc', '--version');
if (nvcc !== 0) console.warn('skipped: there is no nvcc here to compile the device kernels with');

it.skipIf(nvcc !== 0)('compiles for sm_80 and sm_90a with nvcc, without warnings', { timeout }, async () => {
  mkdirSync(build, { recursive: true });
  const sources = readdirSync(join(cuda, 'src', 'kernels')).filter((name) => name.endsWith('.cu'));
  expect(sources.length).toBeGreaterThan(0);
  for (const source of sources) {
    const printed = await run(
      'nvcc',
      ...['-std=c++17', '-Werror', 'all-warnings', '--threads', '2', '-I', join(cuda, 'include')],
      ...['-gencode', 'arch=compute_80,code=sm_80', '-gencode', 'arch=compute_90a,code=sm_90a'],
      ...['-c', join(cuda, 'src', 'kernels', source), '-o', join(build, `${source}.o`)],
    );
    expect(printed).toBe('');
  }
});
