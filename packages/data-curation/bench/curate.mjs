// Curation end to end on the corpus of `build-corpus.mjs`: for each number of workers, speed by step (of the clock, and per core: by
// processor time), share of per-document work by filter, peak memory seen from outside (`process-memory.mjs`), and whether the bytes
// are the same for all. Each run is a process of its own, from and to disk. The files are read once before, so that all runs find
// them in the same state. Writes results/curate.json.
//
//   node bench/build-corpus.mjs /tmp/corpus && node bench/curate.mjs /tmp/corpus [1,2,4]     (after `pnpm build`)
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { curate } from '@xgen-small/data-curation';
import { describeEnvironment, printTable, writeResult } from '../../../tooling/bench/benchmark.mjs';
import { watchMemory } from './process-memory.mjs';

const folder = fileURLToPath(new URL('..', import.meta.url));
const lookMilliseconds = 200;

function plan(corpus) {
  return {
    seed: 1,
    sources: [
      {
        type: 'folder',
        name: 'kernel',
        path: join(corpus, 'text/linux-source-6.1'),
        include: ['**/*.{c,h,S,rst,txt,py,sh,yaml}'],
        byteBudget: 700_000_000,
      },
      {
        type: 'folder',
        name: 'documentation',
        path: join(corpus, 'text'),
        include: ['*-doc/**/*.{html,txt}'],
        byteBudget: 500_000_000,
      },
    ],
    deduplication: { lines: {}, substrings: {} },
    mixture: { stages: [{ name: 'broad', budgetTokens: 100_000_000 }] },
  };
}

if (process.argv[2] === '--once') {
  const [, , , corpus, workers, outputFolder] = process.argv;
  const start = performance.now();
  const { timings, processorTimings, documentTimings, report } = await curate(plan(corpus), {
    outputFolder,
    workers: Number(workers),
  });
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage();
  const result = {
    seconds,
    processorSeconds: (user + system) / 1e6,
    timings,
    processorTimings,
    documentTimings,
    funnel: report.funnel.map(({ step, documents, textBytes }) => ({ step, documents, textBytes })),
  };
  process.stdout.write(JSON.stringify(result));
  // The last look at its memory has to find the process alive.
  await new Promise((resolve) => setTimeout(resolve, 2 * lookMilliseconds));
  process.exit(0);
}

const corpus = resolve(process.argv[2] ?? 'bench-corpus');
const workerCounts = (process.argv[3] ?? '1,2,4').split(',').map(Number);
const round = (value, digits = 2) => Number(value.toFixed(digits));
const root = mkdtempSync(join(tmpdir(), 'curate-bench-'));

/** One curation in a process of its own, watched from here. */
async function measureRun(workers, output) {
  const loadBefore = round(loadavg()[0]);
  const self = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [self, '--once', corpus, String(workers), output], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const stopWatching = watchMemory(child.pid, lookMilliseconds);
  let text = '';
  child.stdout.on('data', (data) => (text += data));
  const exit = await new Promise((done) => child.on('close', done));
  const memory = stopWatching();
  if (exit !== 0) throw new Error(`the run with ${workers} workers failed`);
  return { workers, loadBefore, ...memory, ...JSON.parse(text) };
}

const runs = [];
const hashes = new Set();
// Warm-up: reads every file once.
execFileSync('sh', ['-c', `find ${JSON.stringify(join(corpus, 'text'))} -type f -print0 | xargs -0 cat > /dev/null`]);
let inputs;
for (const workers of workerCounts) {
  const output = join(root, String(workers));
  const run = await measureRun(workers, output);
  const manifest = JSON.parse(readFileSync(join(output, 'manifest.json'), 'utf8'));
  hashes.add(JSON.stringify([manifest.shards, manifest.heldout, manifest.mixtures, manifest.report]));
  inputs = manifest.inputs;
  runs.push(run);
  rmSync(output, { recursive: true, force: true });
  console.log(
    `${workers} workers: ${round(run.seconds)} s, ${round(inputs.bytes / 1e6 / run.seconds)} MB/s, peak ${round(run.peakMebibytes, 0)} MiB`,
  );
}
rmSync(root, { recursive: true, force: true });

const megabytes = inputs.bytes / 1e6;
/** Of all input, by the time given; nothing for steps too short to be timed. */
const speed = (seconds) => (seconds < 0.01 ? null : round(megabytes / seconds));
function documentWork({ documentTimings }) {
  const total = Object.values(documentTimings).reduce((sum, seconds) => sum + seconds, 0);
  return Object.entries(documentTimings)
    .map(([step, seconds]) => ({ step, seconds: round(seconds), share: round(seconds / total, 4) }))
    .sort((a, b) => b.seconds - a.seconds);
}
const fewest = runs.reduce((least, run) => (run.workers < least.workers ? run : least));
const summary = runs.map((run) => ({
  workers: run.workers,
  loadBefore: run.loadBefore,
  seconds: round(run.seconds),
  processorSeconds: round(run.processorSeconds),
  megabytesPerSecond: speed(run.seconds),
  megabytesPerSecondPerCore: speed(run.processorSeconds),
  speedup: round(fewest.seconds / run.seconds),
  /** Largest sum of proportional set sizes seen, and the process's own high-water mark of resident memory. */
  peakMebibytes: round(run.peakMebibytes, 0),
  residentMebibytes: round(run.residentMebibytes, 0),
  steps: Object.entries(run.timings).map(([step, seconds]) => ({
    step,
    seconds: round(seconds),
    processorSeconds: round(run.processorTimings[step]),
    megabytesPerSecond: speed(seconds),
    megabytesPerSecondPerCore: speed(run.processorTimings[step]),
  })),
  documentWork: documentWork(run),
}));
printTable([
  ['workers', 'seconds', 'MB/s', 'MB/s per core', 'speed-up', 'peak MiB', 'resident MiB'],
  ...summary.map((run) => [
    run.workers,
    run.seconds,
    run.megabytesPerSecond,
    run.megabytesPerSecondPerCore,
    run.speedup,
    run.peakMebibytes,
    run.residentMebibytes,
  ]),
]);
for (const { workers, steps } of summary) {
  printTable([
    [`step, ${workers} workers`, 'seconds', 'processor seconds', 'MB/s', 'MB/s per core'],
    ...steps.map((step) => [
      step.step,
      step.seconds,
      step.processorSeconds,
      step.megabytesPerSecond ?? '–',
      step.megabytesPerSecondPerCore ?? '–',
    ]),
  ]);
}
printTable([
  ['per-document work', 'seconds', 'share'],
  ...summary[0].documentWork.map(({ step, seconds, share }) => [step, seconds, `${(100 * share).toFixed(1)} %`]),
]);
const identical = hashes.size === 1;
console.log(identical ? 'The output is the same for every worker count.' : 'THE OUTPUT DIFFERS BETWEEN WORKER COUNTS.');
writeResult(join(folder, 'bench/results/curate.json'), {
  benchmark: 'curate',
  command: `node bench/build-corpus.mjs /tmp/corpus && node bench/curate.mjs /tmp/corpus ${workerCounts.join(',')}`,
  ...describeEnvironment({ folder, packages: ['@duckdb/node-api', 'eld', 'htmlparser2'] }),
  processors: availableParallelism(),
  corpus: {
    packages: JSON.parse(readFileSync(join(corpus, 'versions.json'), 'utf8')),
    files: inputs.files,
    bytes: inputs.bytes,
  },
  funnel: runs[0].funnel,
  runs: summary,
  outputIdentical: identical,
});
if (!identical || runs.some((run) => Math.max(run.peakMebibytes, run.residentMebibytes) > 2048)) process.exitCode = 1;
