/** The README's first example runs, as written, against the built package, and its loss falls. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

test('the first example in the README runs', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const example = /```js\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  expect(example).toContain("from '@xgen-small/kernels'");
  const folder = join(root, '.vitest');
  const file = join(folder, `readme-example-${process.pid}.mjs`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, example);
  try {
    const lines = execFileSync(process.execPath, [file], { cwd: root, encoding: 'utf8' }).trim().split('\n');
    expect(lines[0]).toMatch(/^(native|wasm|cpu) \(/);
    const losses = lines.slice(1).map((line) => Number(/loss ([\d.]+)$/.exec(line)?.[1]));
    expect(losses).toHaveLength(4);
    losses.forEach((loss, i) => expect(loss).toBeLessThan(i === 0 ? 2.4 : losses[i - 1]));
  } finally {
    rmSync(file, { force: true });
  }
});
