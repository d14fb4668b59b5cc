/** The figures in documents are made from result files: bench/cuda/figures.mjs, and the profiles that it shows. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

interface Kernel {
  name: string;
  launches: number;
  milliseconds: number;
  share: number;
}
interface Samples {
  samples: number;
  clockMHz: { median: number; minimum: number; maximum: number };
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const program = join(root, 'bench/cuda/figures.mjs');
const folder = mkdtempSync(join(tmpdir(), 'figures-'));
const { aggregateProfile } = (await import(join(root, 'bench/cuda/profile.mjs'))) as {
  aggregateProfile: (text: string) => { milliseconds: number; launches: number; kernels: Kernel[] };
};
const { parseCard, summarizeSamples } = (await import(join(root, 'bench/cuda/card.mjs'))) as {
  parseCard: (line: string) => Record<string, unknown>;
  summarizeSamples: (text: string) => Samples | undefined;
};

afterAll(() => rmSync(folder, { recursive: true }));

/** As ncu prints it, in the middle of other output; the columns between are cut. */
const csv = `==PROF== Connected to process 725 (node)
{"profiled":true}
"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"
"0","void xgen::<unnamed>::norm_kernel<xgen::bfloat16, 32, 4>(xgen::<unnamed>::NormForward<T1>)","gpu__time_duration.sum","ns","1,500,000"
"1","nvjet_sm90_tst_320x128","gpu__time_duration.sum","us","6,000.5"
"2","void xgen::<unnamed>::norm_kernel<xgen::bfloat16, 32, 4>(xgen::<unnamed>::NormForward<T1>)","gpu__time_duration.sum","ns","2,499,500"
"3","xgen::<unnamed>::documents_kernel(const int *, unsigned long)","gpu__time_duration.sum","nsecond","1,000"
==PROF== Disconnected from process 725
`;

const timed = (median: number) => ({ median, minimum: median, p10: median, p90: median, spread: 0.0123, count: 10 });
const result = {
  benchmark: 'cuda',
  command: 'bench.mjs --peer',
  date: '2026-11-27T21:52:15.356Z',
  versions: { node: '20.20.2', torch: '2.11.0+cu130' },
  commit: 'b750d7b3593b3a6086a04b63ca2f19476c82c13a',
  uncommittedChanges: false,
  device: 'NVIDIA H100 80GB HBM3, cuBLASLt 13.1.0.',
  card: { driver: '580.1' },
  limit: { flops: 989e12, bytes: 3.35e12 },
  conformance: { cases: 234, failed: 0 },
  parity: {
    passed: true,
    plan: { sequences: 4, length: 4096, steps: 200 },
    peer: { name: 'torch 2.11.0', precision: 'bfloat16' },
    losses: {
      worst: 0.00123,
      step: 17,
      limit: 0.005,
      first: { ours: 10.5, peer: 10.5 },
      last: { ours: 6.1, peer: 6.2 },
    },
    logits: [
      {
        weights: 'initial',
        oursToPeer: 0.004,
        limit: 0.01,
        peerLimit: 0.012,
        oursToExact: 0.003,
        peerToExact: 0.0035,
        peerToItself: 0.012,
      },
    ],
  },
  cases: [
    {
      name: 'train 124m, 4,096 × 16',
      milliseconds: timed(165.47),
      tokensPerSecond: 396053.4,
      fractionOfLimit: 0.333,
      peakLiveGiB: 20.18,
      torch: { tokensPerSecond: 380000, peak_gib: 25.1, setting: '--keep all' },
      ratio: 1.0422,
      profile: { command: 'ncu', ...aggregateProfile(csv) },
    },
    { name: 'train 1b, 131,072 × 1', failed: 'ETIMEDOUT: ' },
    { name: 'decode 1b, batch 1', leftOut: 'no time' },
  ],
};

test('a profile adds up the launches of each kernel, whatever the unit', () => {
  const { milliseconds, launches, kernels } = aggregateProfile(csv);
  expect(launches).toBe(4);
  expect(milliseconds).toBeCloseTo(10.001, 9);
  expect(kernels.map(({ name, launches: count }) => [name, count])).toEqual([
    ['nvjet_sm90_tst_320x128', 1],
    ['norm_kernel<bfloat16, 32, 4>', 2],
    ['documents_kernel', 1],
  ]);
  expect(kernels[1].milliseconds).toBeCloseTo(3.9995, 9);
  expect(kernels.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12);
  expect(() => aggregateProfile('nothing')).toThrow('Kernel Name');
});

test('the card: its fields, and its clocks while it was busy', () => {
  expect(parseCard('NVIDIA H100 80GB HBM3, 580.1, 1980, 2619, 345, 2619, 700.00, 31, Enabled, Disabled\n')).toEqual({
    name: 'NVIDIA H100 80GB HBM3',
    driver: '580.1',
    maximumClockMHz: 1980,
    maximumMemoryClockMHz: 2619,
    clockMHz: 345,
    memoryClockMHz: 2619,
    powerLimitW: 700,
    temperatureC: 31,
    ecc: 'Enabled',
    mig: 'Disabled',
  });
  const samples = '0, 345, 70.1, 30\n99, 1980, 650, 60\n100, 1410, 698, 64\n100, 1500, 699, 65\n100, 15';
  expect(summarizeSamples(samples)).toMatchObject({
    samples: 3,
    clockMHz: { median: 1500, minimum: 1410, maximum: 1980 },
  });
  expect(summarizeSamples('')).toBeUndefined();
});

test('a document gets its figures between the marks, and --check tells when they differ', () => {
  const file = join(folder, 'README.md');
  writeFileSync(join(folder, 'cuda.json'), JSON.stringify(result));
  writeFileSync(file, '# Title\n\n<!-- figures of cuda.json -->\n<!-- end of figures -->\n\nThe rest.\n');
  expect(run(file, '--check').status).toBe(1);
  expect(run(file).status).toBe(0);
  const text = readFileSync(file, 'utf8');
  expect(run(file, '--check').status).toBe(0);
  const rows = text.split('\n').map((line) => line.replaceAll(/ +/g, ' '));
  expect(rows).toContain(
    '| train 124m, 4,096 × 16 | 396,053 | 380,000 | 1.04 | 165.5 (1.2 %) | 33.3 % | 20.2 | 25.1 | `--keep all` |',
  );
  expect(rows).toContain('| train 1b, 131,072 × 1 | failed | | | | | | | |');
  expect(rows).toContain('| loss, worst step | 0.123 % | 0.500 % | at step 17 |');
  expect(rows).toContain('| `nvjet_sm90_tst_320x128` | 1 | 6 | 60.0 % |');
  expect(text).not.toContain('decode');
  for (const piece of [
    'PyTorch 2.11.0+cu130',
    'Commit b750d7b359, 2026-11-27',
    '234 cases, 0 failed',
    'and not: 1.200 %',
    'The rest.',
  ])
    expect(text).toContain(piece);

  writeFileSync(join(folder, 'cuda.json'), JSON.stringify({ ...result, commit: 'ffffffffffffffff' }));
  expect(run(file, '--check').status).toBe(1);
});

test('a case in two results, and a rehearsal, are refused', () => {
  const file = join(folder, 'twice.md');
  const { cases, ...rest } = result;
  writeFileSync(join(folder, 'a.json'), JSON.stringify({ ...rest, cases: [cases[0]] }));
  writeFileSync(join(folder, 'b.json'), JSON.stringify({ ...rest, cases: [cases[1]] }));
  writeFileSync(join(folder, 'rehearsal.json'), JSON.stringify({ ...rest, cases, rehearsal: true }));
  const failure = (names: string) => {
    writeFileSync(file, `<!-- figures of ${names} -->\n<!-- end of figures -->\n`);
    return run(file).stderr;
  };
  expect(failure('a.json, a.json')).toContain('train 124m, 4,096 × 16 is in a.json and in a.json');
  expect(failure('rehearsal.json')).toContain('is a rehearsal');
  expect(failure('a.json, b.json')).toBe('');
  expect(readFileSync(file, 'utf8')).toContain('train 1b, 131,072 × 1 (2)');
});

test("the repository's documents show what their results say", () => {
  const documents = ['README.md', '../../README.md', '../../docs/log.md', 'native/cuda/README.md']
    .map((name) => join(root, name))
    .filter(existsSync);
  const { status, stderr } = run(...documents, '--check');
  expect(status, stderr).toBe(0);
});

function run(...flags: string[]) {
  return spawnSync(process.execPath, [program, ...flags], { encoding: 'utf8' });
}
