/** The README's first example, run as it stands against the built package. */
import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

const packageFolder = join(import.meta.dirname, '..');
// inside the package, so that its own name resolves as a user's import does
const script = join(packageFolder, '.vitest', `readme-example-${process.pid}.mjs`);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pretrain-readme-'));
  await mkdir(join(packageFolder, '.vitest'), { recursive: true });
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rm(script, { force: true });
});

it('the first example of the README trains a model, and a second run finds it finished', async () => {
  const readme = await readFile(join(packageFolder, 'README.md'), 'utf8');
  const example = /```js\n([\s\S]*?)```/.exec(readme)![1];
  await writeFile(script, example);
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, [script], { cwd: folder });
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' ').map(Number));
  expect(rows.map(([step]) => step)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  expect(rows[0][1]).toBeGreaterThan(4);
  expect(rows[39][1]).toBeLessThan(0.5);
  await access(join(folder, 'runs/base/model/model.safetensors'));
  expect((await run(process.execPath, [script], { cwd: folder })).stdout).toBe('');
});
