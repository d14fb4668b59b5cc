/** `xgen doctor`: what this machine has, what is missing and what to do about it, which backend will run and why. */
import { execFile } from 'node:child_process';
import { availableParallelism, freemem, totalmem } from 'node:os';
import { statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import { describeBackends, initializeBackend } from '@xgen-small/kernels';
import { describeMachine } from '../run/environment.js';
import { formatBytes, formatTable } from '../terminal/format.js';

const execute = promisify(execFile);

export async function doctorCommand(): Promise<void> {
  const machine = describeMachine();
  const { bavail, bsize } = await statfs(process.cwd());
  const print = (text: string): void => {
    process.stdout.write(`${text}\n`);
  };
  print('Machine');
  print(
    formatTable(
      [
        ['processor', machine.processor],
        ['cores', `${machine.cores} (${availableParallelism()} available to this process)`],
        ['memory', `${formatBytes(totalmem())}, ${formatBytes(freemem())} free`],
        ['disk here', `${formatBytes(bavail * bsize)} free`],
        ['system', machine.platform],
        ['Node', machine.node],
        ['xgen', machine.version],
      ].map(([name, value]) => [`${name}  ${value}`]),
    ),
  );
  print('\nTools (only building needs them)');
  for (const [name, args, why] of [
    ['cmake', ['--version'], 'builds the native addon; install CMake 3.18 or later'],
    ['c++', ['--version'], 'builds the native addon; install g++ or clang'],
    ['nvcc', ['--version'], 'builds the CUDA backend; install the CUDA toolkit if this machine has an NVIDIA card'],
    [
      'nvidia-smi',
      ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader'],
      'comes with the NVIDIA driver',
    ],
  ] as const) {
    const found = await execute(name, [...args]).then(
      ({ stdout }) =>
        stdout
          .trim()
          .split('\n')
          .filter(Boolean)
          .at(name === 'nvcc' ? -1 : 0),
      () => undefined,
    );
    print(`  ${found ? `${name}: ${found}` : `${name}: not found (${why})`}`);
  }
  print('\nBackends');
  for (const backend of await describeBackends()) {
    print(
      `  ${backend.name}: ${backend.available ? 'available' : 'not available'}${backend.detail ? `; ${backend.detail}` : ''}`,
    );
    if (!backend.available && backend.remedy) print(`    ${backend.remedy}`);
  }
  const chosen = await initializeBackend();
  print(`\nWill run: ${chosen.name}, because ${chosen.reason}`);
  for (const warning of chosen.warnings) print(`  Warning: ${warning}`);
}
