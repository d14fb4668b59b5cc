#!/usr/bin/env node
// Builds an addon with CMake into build/: build-native.mjs [--cuda | --cuda-emulated] [--optional] [--bench]
//
// Without a name: the CPU's. --cuda: the one for NVIDIA GPUs, which needs nvcc; --cuda-emulated: the same on an emulated device, for tests.
// Each has its own folder, stamp and lock, so that none can break another. Does nothing when build/ is newer than the sources and the
// tools are the same. With --optional a missing tool or a failed build is no error: the reason goes to build/<name>-note.json, which
// the loader reports, and the exit status is 0.
// The CPU's takes some 20 s on four cores.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const build = join(root, 'build');
const cudaSources = [
  join('native', 'cuda'),
  join('native', 'binding', 'call.cpp'),
  join('native', 'binding', 'call.h'),
];
const targets = {
  native: { file: 'xgen_native', sources: ['CMakeLists.txt', 'native'], besides: join('native', 'cuda'), project: '.' },
  cuda: { file: 'xgen_cuda', sources: cudaSources, project: join('native', 'cuda') },
  'cuda-emulated': { file: 'xgen_cuda_emulated', sources: cudaSources, project: join('native', 'cuda') },
};
const name = Object.keys(targets).find((one) => process.argv.includes(`--${one}`)) ?? 'native';
const target = targets[name];
const work = join(build, name === 'native' ? 'cmake' : `cmake-${name}`);
const addon = join(build, `${target.file}.node`);
const stamp = join(build, `${name}-stamp.json`);
const note = join(build, `${name}-note.json`);
const what = { native: 'native', cuda: 'CUDA', 'cuda-emulated': 'emulated CUDA' }[name];
const optional = process.argv.includes('--optional');
const bench = process.argv.includes('--bench');

function writeAtomic(file, text) {
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, text);
  renameSync(temporary, file);
}

/** Leaves the reason where the loader finds it; the old addon goes, since it no longer matches its sources. */
function giveUp(reason, remedy, detail) {
  rmSync(addon, { force: true });
  rmSync(stamp, { force: true });
  writeAtomic(note, `${JSON.stringify({ reason, remedy, detail }, null, 2)}\n`);
  console.error(`@xgen-small/kernels: ${reason} ${remedy}${detail ? `\n${detail}` : ''}`);
  process.exit(optional ? 0 : 1);
}

function sourceFiles(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? sourceFiles(join(folder, entry.name)) : [join(folder, entry.name)]))
    .filter((file) => /\.(h|cpp|cu|cuh)$|CMakeLists\.txt$/.test(file))
    .sort();
}

function fingerprint(tools) {
  const hash = createHash('sha256');
  hash.update(
    JSON.stringify([tools, process.arch, process.platform, process.env.CXX ?? '', process.env.CXXFLAGS ?? '']),
  );
  const benchmarks = bench ? sourceFiles(join(root, 'bench')) : [];
  const excluded = target.besides === undefined ? undefined : join(root, target.besides);
  const sources = target.sources
    .map((path) => join(root, path))
    .flatMap((path) => (statSync(path).isDirectory() ? sourceFiles(path) : [path]))
    .filter((path) => excluded === undefined || !path.startsWith(excluded));
  for (const file of [...sources, ...benchmarks]) {
    hash.update(file.slice(root.length)).update('\0').update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex');
}

/** Holds others off while we build; takes over from a builder that has died. */
function lock() {
  const file = join(build, `${name}-lock`);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
      process.on('exit', () => rmSync(file, { force: true }));
      for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (!isAlive(file)) rmSync(file, { force: true });
    Atomics.wait(pause, 0, 0, 200);
  }
}

function isAlive(file) {
  try {
    const holder = Number(readFileSync(file, 'utf8'));
    // A holder that has not written its number yet counts as alive.
    if (holder > 0) process.kill(holder, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM' || error.code === 'ENOENT';
  }
}

function versionOf(program) {
  const result = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return result.error || result.status !== 0 ? undefined : result.stdout.split('\n')[0].trim();
}

/** nvcc on the PATH, where CUDA's installer puts it, or where CUDACXX says. */
function findNvcc() {
  const places = [process.env.CUDACXX, 'nvcc', '/usr/local/cuda/bin/nvcc'].filter((place) => place);
  for (const place of places) {
    const result = spawnSync(place, ['--version'], { encoding: 'utf8' });
    if (!result.error && result.status === 0) return { place, version: result.stdout.trim().split('\n').at(-1) };
  }
  return undefined;
}

mkdirSync(build, { recursive: true });
lock();
const cmake = versionOf('cmake');
if (!cmake) {
  giveUp(
    `The ${what} addon was not built: CMake is missing.`,
    'Install it (Debian, Ubuntu: apt install cmake g++; macOS: brew install cmake).',
  );
}
const compilers = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++'];
const compiler = compilers.map(versionOf).find((version) => version !== undefined);
if (!compiler) {
  giveUp(
    `The ${what} addon was not built: there is no C++ compiler.`,
    'Install one (Debian, Ubuntu: apt install g++; macOS: xcode-select --install).',
  );
}

const nvcc = name === 'cuda' ? findNvcc() : undefined;
if (name === 'cuda' && nvcc === undefined) {
  giveUp(
    'The CUDA addon was not built: there is no nvcc.',
    "Install NVIDIA's CUDA toolkit, 12 or newer (apt: cuda-nvcc-13-0 and cuda-cudart-dev-13-0), and build again.",
  );
}
const architectures = process.env.XGEN_CUDA_ARCHITECTURES ?? '';
const tools = name === 'native' ? [cmake, compiler] : [cmake, compiler, nvcc?.version ?? '', architectures];
const wanted = { fingerprint: fingerprint(tools), bench };
const current = existsSync(stamp) && existsSync(addon) ? JSON.parse(readFileSync(stamp, 'utf8')) : undefined;
if (current && current.fingerprint === wanted.fingerprint && (current.bench || !bench)) process.exit(0);

const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
const jobs = String(Math.max(1, availableParallelism()));
const steps = [
  [
    '-S',
    join(root, target.project),
    '-B',
    work,
    '-DCMAKE_BUILD_TYPE=Release',
    `-DNODE_API_HEADERS=${headers}`,
    ...(name === 'native' ? [`-DXGEN_BENCH=${bench ? 'ON' : 'OFF'}`] : []),
    ...(name === 'cuda-emulated' ? ['-DXGEN_CUDA_EMULATION=ON'] : []),
    ...(name === 'cuda' ? [`-DCMAKE_CUDA_COMPILER=${nvcc.place}`] : []),
    ...(name === 'cuda' && architectures !== '' ? [`-DXGEN_CUDA_ARCHITECTURES=${architectures}`] : []),
  ],
  ['--build', work, '--config', 'Release', '--parallel', jobs],
];
for (const step of steps) {
  const result = spawnSync('cmake', step, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
  if (result.error || result.status !== 0) {
    const output = `${result.stdout ?? ''}\n${result.stderr ?? ''}\n${result.error?.message ?? ''}`;
    const errors = output
      .split('\n')
      .filter((line) => /error|fatal/i.test(line))
      .slice(0, 8)
      .join('\n');
    giveUp(
      `The ${what} addon was not built: CMake or the compiler reported an error.`,
      `Run \`cmake ${step.join(' ')}\` to see all of it.`,
      errors || output.slice(-2000),
    );
  }
}
const built = [join(work, `${target.file}.node`), join(work, 'Release', `${target.file}.node`)].find((file) =>
  existsSync(file),
);
if (!built) giveUp(`The ${what} addon was not built: CMake finished without it.`, `Look into ${work}.`);
// A rename, so that a process that has the old addon open keeps it, and no one sees half a file.
const temporary = `${addon}.${process.pid}.tmp`;
writeFileSync(temporary, readFileSync(built));
renameSync(temporary, addon);
rmSync(note, { force: true });
writeAtomic(stamp, `${JSON.stringify(wanted)}\n`);
