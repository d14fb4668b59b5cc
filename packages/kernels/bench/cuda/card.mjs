// What nvidia-smi says of the GPU: which card and driver, and its clocks, power and temperature while something runs. Only reads; undefined
// where there is no nvidia-smi.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { summarize } from '../../../../tooling/bench/benchmark.mjs';

/** As nvidia-smi names them, and as they stand in our results. */
const fields = {
  name: 'name',
  driver_version: 'driver',
  'clocks.max.sm': 'maximumClockMHz',
  'clocks.max.mem': 'maximumMemoryClockMHz',
  'clocks.sm': 'clockMHz',
  'clocks.mem': 'memoryClockMHz',
  'power.limit': 'powerLimitW',
  'temperature.gpu': 'temperatureC',
  'ecc.mode.current': 'ecc',
  'mig.mode.current': 'mig',
};
const watched = { 'clocks.sm': 'clockMHz', 'power.draw': 'powerW', 'temperature.gpu': 'temperatureC' };
const format = '--format=csv,noheader,nounits';

/** The first GPU as it is now. */
export function describeCard() {
  const { stdout, status } = spawnSync('nvidia-smi', ['-i', '0', `--query-gpu=${Object.keys(fields)}`, format], {
    encoding: 'utf8',
  });
  return status === 0 ? parseCard(stdout) : undefined;
}

/** A line of values in the order of `fields`. */
export function parseCard(line) {
  const values = line.trim().split(', ');
  return Object.fromEntries(
    Object.values(fields).map((name, i) => [name, /(?:MHz|W|C)$/.test(name) ? Number(values[i]) : values[i]]),
  );
}

/** Asks twice a second from now on; `stop()` → medians and extremes over the seconds in which the card was busy. */
export function watchCard() {
  const folder = mkdtempSync(join(tmpdir(), 'card-'));
  const file = join(folder, 'samples.csv');
  const descriptor = openSync(file, 'w');
  const query = `--query-gpu=utilization.gpu,${Object.keys(watched)}`;
  const watcher = spawn('nvidia-smi', ['-i', '0', query, format, '-lms', '500'], {
    stdio: ['ignore', descriptor, 'ignore'],
  });
  watcher.on('error', () => {}); // there is none: nothing will have been seen
  closeSync(descriptor);
  return {
    stop() {
      // Without a process identifier Node would signal its own process group.
      if (watcher.pid !== undefined) watcher.kill();
      const samples = readFileSync(file, 'utf8');
      rmSync(folder, { recursive: true });
      return summarizeSamples(samples);
    },
  };
}

/** Lines of `utilization, clock, power, temperature`; undefined where the card was never busy. */
export function summarizeSamples(text) {
  const rows = text
    .split('\n')
    .map((line) => line.split(', ').map(Number))
    .filter((row) => row.length === 4 && row.every(Number.isFinite) && row[0] >= 50);
  if (rows.length === 0) return undefined;
  const summary = { samples: rows.length };
  for (const [i, name] of Object.values(watched).entries()) {
    const values = rows.map((row) => row[i + 1]);
    summary[name] = { median: summarize(values).median, minimum: Math.min(...values), maximum: Math.max(...values) };
  }
  return summary;
}
