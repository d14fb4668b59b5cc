/** Where the addon was not built, the package loads, falls back to wasm and says what to do; so it does in a worker thread. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
// Below the package, so that its dependencies resolve; without build/, so that there is no addon.
const folder = join(root, '.vitest', `without-native-${process.pid}`);

beforeAll(() => {
  mkdirSync(folder, { recursive: true });
  for (const entry of ['dist', 'package.json', 'CMakeLists.txt']) {
    cpSync(join(root, entry), join(folder, entry), { recursive: true });
  }
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function run(program: string): { name: string; warnings: string[]; sum: number; native: string } {
  const file = join(folder, 'program.mjs');
  writeFileSync(file, program);
  const output = execFileSync(process.execPath, [file], { encoding: 'utf8' });
  return JSON.parse(output) as ReturnType<typeof run>;
}

const program = `
  import * as tf from '@tensorflow/tfjs-core';
  import { describeBackends, initializeBackend, linear } from './dist/index.js';
  const { name, warnings } = await initializeBackend();
  const native = (await describeBackends())[0];
  const sum = linear(tf.ones([2, 3]), tf.ones([4, 3])).dataSync().reduce((a, b) => a + b, 0);
  const result = JSON.stringify({ name, warnings, sum, native: native.available ? 'here' : native.remedy });
`;

function expectFallback({ name, warnings, sum, native }: ReturnType<typeof run>): void {
  expect(name).toBe('wasm');
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain('native');
  expect(warnings[0]).toMatch(/CMake/);
  expect(native).toMatch(/CMake/);
  expect(sum).toBe(24);
}

test('on the main thread', () => {
  expectFallback(run(`${program} console.log(result);`));
});

test('in a worker thread', () => {
  expectFallback(
    run(`
      import { Worker } from 'node:worker_threads';
      import { writeFileSync } from 'node:fs';
      const worker = new URL('./worker.mjs', import.meta.url);
      writeFileSync(worker, ${JSON.stringify(`${program} import { parentPort } from 'node:worker_threads'; parentPort.postMessage(result);`)});
      new Worker(worker).once('message', (result) => { console.log(result); process.exit(0); });
    `),
  );
});
