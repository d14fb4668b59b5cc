// Curation end to end on the corpus of `build-corpus.mjs`: speed by step and worker count, share of time by filter, peak memory,
// and whether the bytes are the same for every worker count. Each run is a process of its own, from and to disk. The files are
// read once before, so that all runs find them in the same state. Writes results/curate.json.
//
//   node bench/build-corpus.mjs /tmp/corpus && node bench/curate.mjs /tmp/corpus [1,2,4]     (after `pnpm build`)
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { curate } from '@xgen-small/data-curation';
import { describeEnvironment, printTable, writeResult } from '../../../tooling/bench/benchmark.mjs';

const folder = fileURLToPath(new URL('..', import.meta.url));

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
  const { timings, documentTimings, report } = await curate(plan(corpus), { outputFolder, workers: Number(workers) });
  const usage = process.resourceUsage();
  const result = {
    workers: Number(workers),
    seconds: (performance.now() - start) / 1000,
    processorSeconds: (usage.userCPUTime + usage.systemCPUTime) / 1e6,
    peakMebibytes: usage.maxRSS / 1024,
    timings,
    documentTimings,
    funnel: report.funnel.map(({ step, documents, textBytes }) => ({ step, documents, textBytes })),
  };
  process.stdout.write(JSON.stringify(result));
  process.exit(0);
}

const corpus = resolve(process.argv[2] ?? 'bench-corpus');
const workerCounts = (process.argv[3] ?? '1,2,4').split(',').map(Number);
const round = (value, digits = 2) => Number(value.toFixed(digits));
const root = mkdtempSync(join(tmpdir(), 'curate-bench-'));
const runs = [];
const hashes = new Set();
// Warm-up: reads every file once.
execFileSync('sh', ['-c', `find ${JSON.stringify(join(corpus, 'text'))} -type f -print0 | xargs -0 cat > /dev/null`]);
let inputs;
for (const workers of workerCounts) {
  const output = join(root, String(workers));
  const loadBefore = loadavg()[0];
  const child = spawnSync(
    process.execPath,
    [fileURLToPath(import.meta.url), '--once', corpus, String(workers), output],
    {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  if (child.status !== 0) throw new Error(`the run with ${workers} workers failed`);
  const run = JSON.parse(child.stdout);
  const manifest = JSON.parse(readFileSync(join(output, 'manifest.json'), 'utf8'));
  hashes.add(JSON.stringify([manifest.shards, manifest.heldout, manifest.mixtures, manifest.report]));
  inputs = manifest.inputs;
  runs.push({ ...run, loadBefore: round(loadBefore) });
  rmSync(output, { recursive: true, force: true });
  console.log(
    `${workers} workers: ${round(run.seconds)} s, ${round(inputs.bytes / 1e6 / run.seconds)} MB/s, peak ${round(run.peakMebibytes, 0)} MiB`,
  );
}
rmSync(root, { recursive: true, force: true });

const megabytes = inputs.bytes / 1e6;
const summary = runs.map((run) => ({
  workers: run.workers,
  loadBefore: run.loadBefore,
  seconds: round(run.seconds),
  megabytesPerSecond: round(megabytes / run.seconds),
  /** Of processor time, all threads: what another load on the machine hardly changes. */
  megabytesPerProcessorSecond: round(megabytes / run.processorSeconds),
  speedup: round(runs[0].seconds / run.seconds),
  peakMebibytes: round(run.peakMebibytes, 0),
  steps: Object.fromEntries(
    Object.entries(run.timings).map(([step, seconds]) => [
      step,
      {
        seconds: round(seconds),
        megabytesPerSecondPerWorker: seconds < 0.01 ? null : round(megabytes / seconds / run.workers),
      },
    ]),
  ),
}));
const work = runs[0].documentTimings;
const total = Object.values(work).reduce((sum, seconds) => sum + seconds, 0);
const shares = Object.entries(work)
  .map(([step, seconds]) => ({
    step,
    seconds: round(seconds),
    share: round(seconds / total, 4),
    megabytesPerSecond: round(megabytes / seconds, 0),
  }))
  .sort((a, b) => b.seconds - a.seconds);
printTable([
  ['workers', 'seconds', 'MB/s', 'MB per processor second', 'speed-up', 'peak MiB'],
  ...summary.map((run) => [
    run.workers,
    run.seconds,
    run.megabytesPerSecond,
    run.megabytesPerProcessorSecond,
    run.speedup,
    run.peakMebibytes,
  ]),
]);
printTable([
  ['step', 'seconds', 'share'],
  ...shares.map(({ step, seconds, share }) => [step, seconds, `${(100 * share).toFixed(1)} %`]),
]);
const identical = hashes.size === 1;
console.log(identical ? 'The output is the same for every worker count.' : 'THE OUTPUT DIFFERS BETWEEN WORKER COUNTS.');
writeResult(join(folder, 'bench/results/curate.json'), {
  benchmark: 'curate',
  command: 'node bench/build-corpus.mjs /tmp/corpus && node bench/curate.mjs /tmp/corpus',
  ...describeEnvironment({ folder, packages: ['@duckdb/node-api', 'eld', 'htmlparser2'] }),
  processors: availableParallelism(),
  corpus: {
    packages: JSON.parse(readFileSync(join(corpus, 'versions.json'), 'utf8')),
    files: inputs.files,
    bytes: inputs.bytes,
  },
  funnel: runs[0].funnel,
  runs: summary,
  perDocumentWork: shares,
  outputIdentical: identical,
});
if (!identical || runs.some((run) => run.peakMebibytes > 2048)) process.exitCode = 1;
