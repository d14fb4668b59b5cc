/** The addon for real GPUs: nvcc, where there is one, compiles it without a warning, and it loads where there is no GPU, saying so. */
import { spawn, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const nvcc = ['nvcc', '/usr/local/cuda/bin/nvcc'].find((place) => spawnSync(place, ['--version']).status === 0);
if (nvcc === undefined) console.warn('skipped: there is no nvcc here to compile the CUDA addon with');

async function run(command: string, ...options: string[]): Promise<string> {
  const child = spawn(command, options);
  let [output, errors] = ['', ''];
  child.stdout.on('data', (text) => (output += String(text)));
  child.stderr.on('data', (text) => (errors += String(text)));
  const status = await new Promise((resolve) => child.on('close', resolve));
  expect(status, `${command} ${options.join(' ')}:\n${output}\n${errors}`).toBe(0);
  return output;
}

it.skipIf(nvcc === undefined)(
  'compiles for sm_80 and sm_90a with nvcc, without warnings, and loads without a GPU',
  { timeout: 1_200_000 },
  async () => {
    // Apart from the addon that people use.
    const folder = join(root, 'build', 'cmake-cuda-check');
    const headers = (createRequire(import.meta.url)('node-api-headers') as { include_dir: string }).include_dir;
    await run(
      'cmake',
      ...['-S', join(root, 'native/cuda'), '-B', folder, `-DNODE_API_HEADERS=${headers}`],
      ...[
        `-DCMAKE_CUDA_COMPILER=${nvcc}`,
        '-DXGEN_CUDA_ARCHITECTURES=80-real;90a-real',
        '-DXGEN_WARNINGS_AS_ERRORS=ON',
      ],
    );
    await run('cmake', '--build', folder, '--parallel', '2');
    const addon = JSON.stringify(join(folder, 'xgen_cuda.node'));
    const program = `process.stdout.write(JSON.stringify(require(${addon}).probe()));`;
    const probe = JSON.parse(await run(process.execPath, '-e', program)) as Record<string, unknown>;
    expect(probe.emulated).toBe(false);
    if (probe.available !== true) {
      for (const text of [probe.reason, probe.remedy]) expect((text as string).length).toBeGreaterThan(10);
    }
  },
);
