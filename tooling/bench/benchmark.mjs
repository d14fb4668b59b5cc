// Timing, description of the machine and result files, shared by every package's `bench/`.
//
// A result is one JSON file: what ran, on what hardware and versions, from which commit, when, and for each figure its median and
// spread. Timings on a shared machine drift: compare figures only within one file, from one run. Costs nothing but the timed calls.
import { execFileSync } from 'node:child_process';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, loadavg, totalmem, type as osType, release } from 'node:os';
import { dirname, join } from 'node:path';
import { performance } from 'node:perf_hooks';

/**
 * @typedef {object} Sample Milliseconds over all samples.
 * @property {number} median
 * @property {number} minimum
 * @property {number} p10
 * @property {number} p90
 * @property {number} spread (p90 − p10) / median
 * @property {number} count
 */

/** Milliseconds of processor time of all threads of this process: for work on one thread, steadier than the time of day on a busy machine. */
export function processorTime() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
}

/**
 * Calls `run` (synchronous) until both `samples` and `milliseconds` are reached, after `warmUp` calls; at most `maximumMilliseconds`. `clock` gives
 * milliseconds, by default the time of day.
 *
 * @param {() => void} run
 * @param {{ samples?: number, milliseconds?: number, maximumMilliseconds?: number, warmUp?: number, clock?: () => number }} [options]
 * @returns {Sample}
 */
export function measure(
  run,
  { samples = 7, milliseconds = 500, maximumMilliseconds = 20_000, warmUp = 2, clock = () => performance.now() } = {},
) {
  for (let i = 0; i < warmUp; i++) run();
  const times = [];
  const start = clock();
  for (;;) {
    const before = clock();
    run();
    const after = clock();
    times.push(after - before);
    const elapsed = after - start;
    if (elapsed >= maximumMilliseconds || (times.length >= samples && elapsed >= milliseconds)) break;
  }
  return summarize(times);
}

/**
 * Median, extremes and spread of a list of milliseconds.
 *
 * @param {number[]} times at least one
 * @returns {Sample}
 */
export function summarize(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (fraction) => {
    const position = fraction * (sorted.length - 1);
    const below = sorted[Math.floor(position)];
    return below + (sorted[Math.ceil(position)] - below) * (position % 1);
  };
  const median = at(0.5);
  const [p10, p90] = [at(0.1), at(0.9)];
  return { median, minimum: sorted[0], p10, p90, spread: (p90 - p10) / median, count: sorted.length };
}

/**
 * The machine, the versions and the commit that a result belongs to. `packages` are resolved from `folder`.
 *
 * @param {{ folder: string, packages?: string[] }} options
 */
export function describeEnvironment({ folder, packages = [] }) {
  const [processor] = cpus();
  const git = (...args) => {
    try {
      return execFileSync('git', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    } catch {
      return undefined;
    }
  };
  const versions = { node: process.versions.node };
  for (const name of packages) versions[name] = packageVersion(folder, name);
  return {
    date: new Date().toISOString(),
    hardware: {
      processor: processor?.model ?? 'unknown',
      cores: availableParallelism(),
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${osType()} ${release()} ${process.arch}`,
    },
    /** Programs that wanted a core in the minute before: above a few tenths, timings on all cores say little. */
    loadAverage: loadavg()[0],
    versions,
    commit: git('rev-parse', 'HEAD'),
    uncommittedChanges: (git('status', '--porcelain', '--', folder) ?? '') !== '',
  };
}

/** Version of an installed package, looked up from `folder`; undefined where it is not installed. */
function packageVersion(folder, name) {
  const require = createRequire(join(folder, 'package.json'));
  for (const path of require.resolve.paths(name) ?? []) {
    try {
      return JSON.parse(readFileSync(join(path, name, 'package.json'), 'utf8')).version;
    } catch {
      continue;
    }
  }
  return undefined;
}

/**
 * Writes a result under its final name only when it is whole.
 *
 * @param {string} file
 * @param {unknown} result
 */
export function writeResult(file, result) {
  mkdirSync(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  const descriptor = openSync(temporary, 'w');
  try {
    writeSync(descriptor, `${JSON.stringify(result, round, 2)}\n`);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(temporary, file);
}

/** Six significant digits are more than any timing has. */
function round(_key, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

/**
 * Prints rows as aligned columns; the first row is the header.
 *
 * @param {(string | number)[][]} rows
 */
export function printTable(rows) {
  const cells = rows.map((row) =>
    row.map((cell) => (typeof cell === 'number' ? String(Number(cell.toPrecision(4))) : cell)),
  );
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  for (const row of cells) {
    console.log(
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
        .join('  '),
    );
  }
}
