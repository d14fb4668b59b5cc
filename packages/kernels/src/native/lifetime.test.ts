/** The addon's life: several environments in one process, workers that end or are killed in the middle of a call. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { loadAddon } from './load-addon';

const { addon } = loadAddon();
const file = join(dirname(fileURLToPath(import.meta.url)), '../../build/xgen_native.node');

/** A worker's program: products of ones, whose every element must be k. Runs on until told to stop, or for `rounds`. */
const program = `
  const { parentPort, workerData } = require('node:worker_threads');
  const addon = require(workerData.file);
  const [m, n, k] = [200, 128, 300];
  const a = new Float32Array(m * k).fill(1), b = new Float32Array(n * k).fill(1), out = new Float32Array(m * n);
  const held = new Float32Array(addon.allocate(1 << 20));
  for (let round = 0; round < workerData.rounds; round++) {
    out.fill(NaN);
    addon.linear(m, k, n, false, a, b, out);
    if (!out.every((value) => value === k)) throw new Error('wrong product');
    if (round === 0) parentPort.postMessage('started');
  }
  held.fill(1);
  parentPort.postMessage('done');
`;

function startWorker(rounds: number): Worker {
  return new Worker(program, { eval: true, workerData: { file, rounds } });
}

describe.skipIf(addon === undefined)('lifetime', () => {
  it('serves several workers and the main thread at the same time', async () => {
    const workers = [1, 2, 3].map(() => startWorker(300));
    const ends = workers.map((worker) => once(worker, 'exit'));
    const [m, n, k] = [300, 64, 200];
    const [a, b] = [new Float32Array(m * k).fill(1), new Float32Array(n * k).fill(1)];
    for (let round = 0; round < 300; round++) {
      const out = new Float32Array(m * n).fill(NaN);
      addon!.linear(m, k, n, false, a, b, out);
      expect(out.every((value) => value === k)).toBe(true);
      if (round % 50 === 0) await new Promise(setImmediate);
    }
    for (const end of ends) expect(await end).toEqual([0]);
  });

  it('survives workers that are killed in the middle of a call', async () => {
    for (let round = 0; round < 5; round++) {
      const worker = startWorker(1e9);
      await once(worker, 'message');
      expect(await worker.terminate()).toBe(1);
    }
    const out = new Float32Array(64 * 32).fill(NaN);
    addon!.linear(64, 16, 32, false, new Float32Array(64 * 16).fill(1), new Float32Array(32 * 16).fill(1), out);
    expect(out.every((value) => value === 16)).toBe(true);
  });

  it('can be loaded by workers alone, one after the other, in a process that then ends by itself', () => {
    const main = `
      const { Worker } = require('node:worker_threads');
      const run = () => new Promise((resolve, reject) => {
        const worker = new Worker(${JSON.stringify(program)}, { eval: true, workerData: { file: ${JSON.stringify(file)}, rounds: 20 } });
        worker.on('error', reject).on('exit', resolve);
      });
      (async () => { for (let i = 0; i < 4; i++) if (await run() !== 0) process.exit(3); console.log('ended'); })();
    `;
    expect(execFileSync(process.execPath, ['-e', main], { encoding: 'utf8' })).toBe('ended\n');
  });

  it('lets a process exit while a worker computes', () => {
    const main = `
      const { Worker } = require('node:worker_threads');
      const worker = new Worker(${JSON.stringify(program)}, { eval: true, workerData: { file: ${JSON.stringify(file)}, rounds: 1e9 } });
      worker.on('message', () => process.exit(7));
    `;
    let status: number | null = 0;
    try {
      execFileSync(process.execPath, ['-e', main]);
    } catch (error) {
      status = (error as { status: number | null }).status;
    }
    expect(status).toBe(7);
  });

  it('refuses arrays that are too short, of the wrong type or detached', () => {
    const x = new Float32Array(6);
    const call = (weight: unknown, out: unknown) => () =>
      addon!.linear(2, 3, 4, false, x, weight as Float32Array, out as Float32Array);
    expect(call(new Float32Array(11), new Float32Array(8))).toThrow(/fewer than the 12/);
    expect(call(new Float64Array(12), new Float32Array(8))).toThrow(/not a Float32Array/);
    expect(call([1, 2], new Float32Array(8))).toThrow(/not a Float32Array/);
    const detached = new Float32Array(12);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    expect(call(detached, new Float32Array(8))).toThrow(/fewer than the 12/);
    expect(() => addon!.linear(2 ** 40, 2 ** 40, 2 ** 40, false, x, x, x)).toThrow(/2\^53/);
    expect(() => addon!.linear(-1, 3, 4, false, x, x, x)).toThrow(/not a size/);
    expect(() => addon!.linear(NaN, 3, 4, false, x, x, x)).toThrow(/not a size/);
    expect(() => (addon!.linear as () => void)()).toThrow(/missing/);
  });
});
