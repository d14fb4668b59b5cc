import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { filesOf, temporaryFolders } from './support/folders.js';

const newFolder = temporaryFolders();

it('the README’s first example runs against the built package and does what it says', async () => {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const code = /```js\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))![1];
  // As in a user's folder: the package and what it stands on are found in node_modules.
  const folder = await newFolder();
  await mkdir(join(folder, 'node_modules/@xgen-small'), { recursive: true });
  for (const name of ['kernels', 'model-core', 'tokenizer']) {
    await symlink(join(root, 'node_modules/@xgen-small', name), join(folder, 'node_modules/@xgen-small', name));
  }
  await symlink(root, join(folder, 'node_modules/@xgen-small/posttrain'));
  await writeFile(join(folder, 'example.mjs'), code);
  const output = execFileSync(process.execPath, ['example.mjs'], { cwd: folder, encoding: 'utf8' });
  const [, before, after] = /reward ([\d.]+) -> ([\d.]+), model in runs\/brief\/model/.exec(output)!.map(Number);
  expect(before).toBeLessThan(0.2);
  expect(after).toBeGreaterThan(0.5);
  expect(Object.keys(await filesOf(join(folder, 'runs/brief/model')))).toContain('model.safetensors');
});
