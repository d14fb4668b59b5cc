/** `bench/cuda/run.sh`, which nobody can try before they have the GPU: its whole way, with tiny shapes on the emulated device. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { missing } from './test-support';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
/** Stands for Python with PyTorch, which few machines have. */
const python = `#!/bin/sh
case $2 in *decode.py) echo 'no PyTorch here' >&2; exit 1 ;; esac
echo 'warming up'
printf '{"tokens_per_s": 1000, "flags": "%s"}\\n' "$*"
`;

test.skipIf(missing !== undefined)(
  `the benchmark builds, trains, decodes, calls the peer and writes its figures${missing === undefined ? '' : ` (${missing})`}`,
  { timeout: 1_200_000 },
  async () => {
    const only = '124m,32,decode 1b, batch 1';
    const { device, rehearsal, commit, cases } = (await rehearse('--steps', '2', '--only', only, '--peer')) as {
      device: string;
      rehearsal: boolean;
      commit: string;
      cases: {
        name: string;
        failed?: string;
        tokensPerSecond: number;
        ratio?: number;
        firstLoss?: number;
        lastLoss?: number;
        torch: { flags?: string; failed?: string };
      }[];
    };
    expect(device).toContain('emulated');
    expect(rehearsal).toBe(true);
    expect(commit).toMatch(/^[0-9a-f]{40}$/);
    expect(cases.length).toBeGreaterThanOrEqual(4);
    for (const { name, failed, tokensPerSecond, firstLoss, lastLoss, ratio, torch } of cases) {
      expect(failed, name).toBeUndefined();
      expect(tokensPerSecond, name).toBeGreaterThan(0);
      if (name.startsWith('train')) {
        expect(lastLoss, name).toBeLessThan(firstLoss!);
        expect(torch.flags).toContain('--preset');
        expect(torch.flags).toContain('--keep');
        expect(ratio).toBeCloseTo(tokensPerSecond / 1000, 9);
      } else {
        expect(torch.failed).toContain('no PyTorch here');
      }
    }
  },
);

test.skipIf(missing !== undefined)(
  `the benchmark's proof of parity runs, against a stand-in for PyTorch${missing === undefined ? '' : ` (${missing})`}`,
  { timeout: 1_200_000 },
  async () => {
    const { parity, cases } = (await rehearse('--only', 'parity')) as {
      parity: { passed: boolean; ours: { name: string }; losses: { worst: number }; logits: { oursToPeer: number }[] };
      cases: unknown[];
    };
    expect(cases).toEqual([]);
    expect(parity).toMatchObject({ passed: true, ours: { name: 'cuda' } });
    expect(parity.losses.worst).toBeLessThan(0.005);
    // Bfloat16 against float32: not equal, as they would be if one side were compared with itself.
    for (const { oursToPeer } of parity.logits) expect(oursToPeer).toBeGreaterThan(1e-4);
  },
);

/** What run.sh writes; it must succeed. */
async function rehearse(...flags: string[]): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
  const output = join(folder, 'cuda.json');
  writeFileSync(join(folder, 'python3'), python, { mode: 0o755 });
  const child = spawn('sh', [join(root, 'bench/cuda/run.sh'), '--rehearse', '--output', output, ...flags], {
    env: { ...process.env, PATH: `${folder}:${process.env.PATH}` },
  });
  let printed = '';
  child.stdout.on('data', (text) => (printed += String(text)));
  child.stderr.on('data', (text) => (printed += String(text)));
  const status = await new Promise((resolve) => child.on('close', resolve));
  expect(status, printed).toBe(0);
  const result: unknown = JSON.parse(readFileSync(output, 'utf8'));
  rmSync(folder, { recursive: true });
  return result;
}
