#!/usr/bin/env node
// Builds the native addon with CMake into build/: build-native.mjs [--optional] [--bench]
//
// Does nothing when build/ is newer than the sources and the tools are the same. With --optional a missing tool or a failed
// build is no error: the reason goes to build/native-note.json, which the loader reports, and the exit status is 0.
// Takes some 20 s on four cores.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const build = join(root, 'build');
const work = join(build, 'cmake');
const addon = join(build, 'xgen_native.node');
const stamp = join(build, 'native-stamp.json');
const note = join(build, 'native-note.json');
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
    .filter((file) => /\.(h|cpp)$/.test(file))
    .sort();
}

function fingerprint(tools) {
  const hash = createHash('sha256');
  hash.update(
    JSON.stringify([tools, process.arch, process.platform, process.env.CXX ?? '', process.env.CXXFLAGS ?? '']),
  );
  const benchmarks = bench ? sourceFiles(join(root, 'bench')) : [];
  const sources = ['binding', 'include', 'src'].flatMap((part) => sourceFiles(join(root, 'native', part)));
  for (const file of [join(root, 'CMakeLists.txt'), ...sources, ...benchmarks]) {
    hash.update(file.slice(root.length)).update('\0').update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex');
}

/** Holds others off while we build; takes over from a builder that has died. */
function lock() {
  const file = join(build, 'native-lock');
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

mkdirSync(build, { recursive: true });
lock();
const cmake = versionOf('cmake');
if (!cmake) {
  giveUp(
    'The native addon was not built: CMake is missing.',
    'Install it (Debian, Ubuntu: apt install cmake g++; macOS: brew install cmake).',
  );
}
const compilers = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++'];
const compiler = compilers.map(versionOf).find((version) => version !== undefined);
if (!compiler) {
  giveUp(
    'The native addon was not built: there is no C++ compiler.',
    'Install one (Debian, Ubuntu: apt install g++; macOS: xcode-select --install).',
  );
}

const wanted = { fingerprint: fingerprint([cmake, compiler]), bench };
const current = existsSync(stamp) && existsSync(addon) ? JSON.parse(readFileSync(stamp, 'utf8')) : undefined;
if (current && current.fingerprint === wanted.fingerprint && (current.bench || !bench)) process.exit(0);

const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
const jobs = String(Math.max(1, availableParallelism()));
const steps = [
  [
    '-S',
    root,
    '-B',
    work,
    '-DCMAKE_BUILD_TYPE=Release',
    `-DNODE_API_HEADERS=${headers}`,
    `-DXGEN_BENCH=${bench ? 'ON' : 'OFF'}`,
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
      'The native addon was not built: CMake or the compiler reported an error.',
      `Run \`cmake ${step.join(' ')}\` to see all of it.`,
      errors || output.slice(-2000),
    );
  }
}
const built = [join(work, 'xgen_native.node'), join(work, 'Release', 'xgen_native.node')].find((file) =>
  existsSync(file),
);
if (!built) giveUp('The native addon was not built: CMake finished without it.', `Look into ${work}.`);
// A rename, so that a process that has the old addon open keeps it, and no one sees half a file.
const temporary = `${addon}.${process.pid}.tmp`;
writeFileSync(temporary, readFileSync(built));
renameSync(temporary, addon);
rmSync(note, { force: true });
writeAtomic(stamp, `${JSON.stringify(wanted)}\n`);
