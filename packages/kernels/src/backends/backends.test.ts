import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { engine, getBackend, ones, sum } from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { KernelsError } from '../kernels-error';
import type { BackendName } from './backend-adapter';
import { describeBackends, initializeBackend } from './initialize-backend';
import type { MatmulPrecision } from '../native/index';
import { setMatmulPrecision, setThreadCount } from './settings';
import { createTensorflowAdapter } from './tfjs-adapters';

/** Everything written to the console or the standard streams while a test runs. */
const printed: string[] = [];
beforeEach(() => {
  printed.length = 0;
  for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) {
    vi.spyOn(console, method).mockImplementation((...values) => void printed.push(values.map(String).join(' ')));
  }
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      printed.push(String(chunk));
      return true;
    });
  }
});
afterEach(() => {
  vi.restoreAllMocks();
});

function codeOf(f: () => unknown): string | undefined {
  try {
    f();
  } catch (error) {
    return KernelsError.isInstance(error) ? error.code : String(error);
  }
  return undefined;
}

describe('initializeBackend', () => {
  test.each(['cpu', 'wasm'] as const)('starts %s when asked, computes on it, and prints nothing', async (preferred) => {
    const { name, reason, warnings } = await initializeBackend({ preferred });
    expect([name, getBackend()]).toEqual([preferred, preferred]);
    expect(reason).toContain('as asked');
    expect(warnings).toEqual([]);
    expect(sum(ones([3])).dataSync()[0]).toBe(3);
    expect(printed).toEqual([]);
  });

  test('takes the best that works, with a warning and a remedy for each better one', async () => {
    const { name, warnings } = await initializeBackend();
    const descriptions = await describeBackends();
    const order: BackendName[] = ['native', 'wasm', 'cpu'];
    const works = order.filter((one) => descriptions.find((description) => description.name === one)?.available);
    expect(name).toBe(works[0]);
    expect(warnings).toHaveLength(order.indexOf(name));
    expect(printed).toEqual([]);
  });

  test('passes cuda over where it cannot run, with the reason and what to do, and never takes it unasked', async () => {
    const { available, detail, remedy } = (await describeBackends()).find((one) => one.name === 'cuda')!;
    expect((await initializeBackend()).name).not.toBe('cuda');
    if (available) return;
    const { name, warnings } = await initializeBackend({ preferred: 'cuda' });
    expect(name).not.toBe('cuda');
    expect(warnings[0]).toContain('cuda');
    expect(warnings[0]).toContain(detail);
    expect(warnings[0]).toContain(remedy);
  });

  test('refuses a backend that does not exist', async () => {
    const attempt = initializeBackend({ preferred: 'webgl' as BackendName });
    await expect(attempt).rejects.toMatchObject({ code: 'UNKNOWN_BACKEND', value: 'webgl' });
  });
});

test('describeBackends knows every backend, and says what to do about those that do not work', async () => {
  const descriptions = await describeBackends();
  expect(descriptions.map(({ name }) => name)).toEqual(['native', 'wasm', 'cpu', 'cuda', 'tensorflow']);
  for (const { available, detail, remedy } of descriptions) {
    expect(detail.length).toBeGreaterThan(10);
    if (!available) expect(remedy).toBeTruthy();
  }
  expect(printed).toEqual([]);
});

describe('settings', () => {
  test('of a backend without a choice say what is in use', async () => {
    await initializeBackend({ preferred: 'cpu' });
    expect(setThreadCount(4)).toBe(1);
    expect(setMatmulPrecision('bfloat16')).toBe('float32');
    expect(setMatmulPrecision('float32')).toBe('float32');
  });

  test('refuse nonsense', async () => {
    await initializeBackend({ preferred: 'cpu' });
    const unknown: string = 'float16';
    for (const count of [-1, 1.5, NaN, 1e9]) expect(codeOf(() => setThreadCount(count))).toBe('WRONG_OPTION');
    expect(codeOf(() => setMatmulPrecision(unknown as MatmulPrecision))).toBe('WRONG_OPTION');
  });
});

describe('the tensorflow backend', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test('that is not installed says what to install', async () => {
    const adapter = createTensorflowAdapter(() => {
      throw new Error('Cannot find module');
    });
    const { available, remedy } = await adapter.describe();
    expect(available).toBe(false);
    expect(remedy).toContain('Install @tensorflow/tfjs-node');
  });

  test('whose libtensorflow is missing says why and does not crash', async () => {
    const entry = join(folder, 'tfjs-node-gpu', 'index.cjs');
    mkdirSync(join(folder, 'tfjs-node-gpu'), { recursive: true });
    writeFileSync(entry, `throw new Error("The Node.js native addon module (tfjs_binding.node) can not be found");`);
    const adapter = createTensorflowAdapter((name) => {
      if (name.endsWith('gpu')) return entry;
      throw new Error('Cannot find module');
    });
    const { available, detail, remedy } = await adapter.describe();
    expect(available).toBe(false);
    expect(detail).toContain('tfjs_binding.node');
    expect(remedy).toContain('allowBuilds');
    expect(engine().backendName).not.toBe('tensorflow');
  });
});
