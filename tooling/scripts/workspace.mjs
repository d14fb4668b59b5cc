#!/usr/bin/env node
// The root commands (`npm start|test|serve|bench`): each installs what is missing, builds what changed, then does its job.
// Needs Node >= 20.19 and npm's registry; the native addon also wants CMake and a C++ compiler, and is skipped without.
// Costs about a minute on a fresh clone, about two seconds after that.
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageFolders, packagesInPlan, printTestSummary } from './test-summary.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const [command, ...rest] = process.argv.slice(2);
const environment = {
  ...process.env,
  TURBO_TELEMETRY_DISABLED: '1',
  DO_NOT_TRACK: '1',
  npm_config_update_notifier: 'false',
};
// npm hands its own settings down as variables that pnpm would warn about, one line each.
for (const name of Object.keys(environment)) {
  if (
    name.startsWith('npm_config_') &&
    name !== 'npm_config_cache' &&
    name !== 'npm_config_registry' &&
    name !== 'npm_config_cafile'
  ) {
    delete environment[name];
  }
}

function fail(message) {
  console.error(`xgen-small: ${message}`);
  process.exit(1);
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Node ${process.versions.node} is too old; this needs 20.19 or later (https://nodejs.org).`);
}

/** Runs a program in the root with our terminal; resolves to its exit status, 128 + n for signal n as a shell would. */
function run(program, args, options = {}) {
  // A Ctrl-C reaches the whole foreground group: the child stops in its own time, and we report how it ended.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  process.on('SIGTERM', ignore);
  const result = spawnSync(program, args, { cwd: root, stdio: 'inherit', env: environment, ...options });
  process.off('SIGINT', ignore);
  process.off('SIGTERM', ignore);
  if (result.error) fail(`could not start ${program}: ${result.error.message}`);
  return result.status ?? (result.signal === 'SIGINT' ? 130 : 143);
}

/** The pnpm that package.json names, from PATH when it is there, else through npm's registry. */
function pnpmCommand() {
  const wanted = manifest.packageManager.split('@')[1].split('+')[0];
  const found = spawnSync('pnpm', ['--version'], { cwd: '/', encoding: 'utf8', env: environment });
  if (!found.error && found.stdout.trim() === wanted) return ['pnpm'];
  return ['npm', 'exec', '--yes', `--package=pnpm@${wanted}`, '--', 'pnpm'];
}

const [pnpm, ...pnpmPrefix] = pnpmCommand();
const runPnpm = (...args) => run(pnpm, [...pnpmPrefix, ...args]);

function install() {
  const status = runPnpm('install', '--frozen-lockfile', '--reporter=append-only', '--loglevel=warn');
  if (status !== 0) fail("the install failed (see above). It needs npm's registry; then run the same command again.");
}

function build(filters = []) {
  const status = runPnpm('exec', 'turbo', 'run', 'build', '--output-logs=errors-only', ...filters);
  if (status !== 0) fail('the build failed (see above).');
}

/** The packages whose tests turbo's arguments choose (`--filter`); undefined, which is all of them, where there are none. Ends where turbo refuses them. */
function packagesAskedFor(args) {
  if (args.length === 0) return undefined;
  const plan = [...pnpmPrefix, 'exec', 'turbo', 'run', 'test', '--only', '--dry=json', ...args];
  const { status, stdout, stderr } = spawnSync(pnpm, plan, {
    cwd: root,
    env: environment,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) fail(`turbo takes no \`${args.join(' ')}\`: ${stderr.trim()}`);
  return packagesInPlan(stdout);
}

const trainer = (...args) => run(process.execPath, [join('apps', 'trainer', 'dist', 'cli.js'), ...args]);

switch (command) {
  case 'start':
    install();
    build();
    process.exit(trainer('run', rest.length > 0 && !rest[0].startsWith('-') ? rest.shift() : 'quickstart', ...rest));
    break;
  case 'serve':
    install();
    build();
    process.exit(trainer('serve', ...rest));
    break;
  case 'bench':
    install();
    build();
    process.exit(run(process.execPath, [join('tooling', 'scripts', 'run-benchmarks.mjs'), ...rest]));
    break;
  case 'test': {
    install();
    // Before a quarter of an hour is spent on what nobody asked for.
    const asked = packagesAskedFor(rest);
    build();
    for (const folder of packageFolders(root)) rmSync(join(folder, '.vitest'), { recursive: true, force: true });
    // One ESLint and one compiler for all packages read the types that they share once. Beside them, two cores build the emulated GPU that
    // several packages test on (--only below leaves out what they depend on); it says itself why it could not be built.
    const checks = runPnpm(
      'exec',
      'turbo',
      'run',
      'lint:all',
      'typecheck:all',
      'format:check',
      'build:cuda-emulated',
      '--continue',
      '--output-logs=new-only',
      '--concurrency=2',
    );
    // --force: a cached pass would leave nothing to count. Two packages at a time: one alone leaves a core idle most of the time.
    const tests = runPnpm(
      'exec',
      'turbo',
      'run',
      'test',
      '--continue',
      '--force',
      '--only',
      '--output-logs=new-only',
      '--concurrency=2',
      ...rest,
    );
    const { failed } = printTestSummary(root, { checksFailed: checks !== 0, asked });
    process.exit(checks === 0 && tests === 0 && failed === 0 ? 0 : 1);
    break;
  }
  default:
    fail(`unknown command ${JSON.stringify(command)}; use start, test, serve or bench.`);
}
