/** The addon for real GPUs compiles where there is nvcc, and loads where there is no GPU, saying so. */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const nvcc = ['nvcc', '/usr/local/cuda/bin/nvcc'].find((place) => spawnSync(place, ['--version']).status === 0);
const skip = nvcc === undefined ? 'there is no nvcc here' : undefined;

describe.skipIf(skip !== undefined)(`the CUDA addon${skip === undefined ? '' : ` (${skip})`}`, () => {
  test('compiles for Hopper, and loads without a GPU', () => {
    // Apart from the addon that people use, and for one kind of GPU: a third of the time.
    const folder = join(root, 'build', 'cmake-cuda-check');
    const headers = (createRequire(import.meta.url)('node-api-headers') as { include_dir: string }).include_dir;
    const steps = [
      ['-S', join(root, 'native/cuda'), '-B', folder, `-DNODE_API_HEADERS=${headers}`, `-DCMAKE_CUDA_COMPILER=${nvcc}`],
      ['--build', folder, '--parallel', '2'],
    ];
    steps[0].push('-DXGEN_CUDA_ARCHITECTURES=90a-real');
    for (const step of steps) {
      const { status, stdout, stderr } = spawnSync('cmake', step, { encoding: 'utf8' });
      expect(status, `${stdout}\n${stderr}`).toBe(0);
    }
    const program = `
      const addon = require(${JSON.stringify(join(folder, 'xgen_cuda.node'))});
      process.stdout.write(JSON.stringify(addon.probe()));
    `;
    const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', program], { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    const probe = JSON.parse(stdout) as { emulated: boolean; available: boolean; reason: string; remedy: string };
    expect(probe.emulated).toBe(false);
    if (!probe.available) expect([probe.reason, probe.remedy].every((text) => text.length > 10)).toBe(true);
  });
});
