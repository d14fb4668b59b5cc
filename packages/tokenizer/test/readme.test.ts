import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const packageFolder = fileURLToPath(new URL('..', import.meta.url));

it('the first example of the README runs', async () => {
  const readme = await readFile(join(packageFolder, 'README.md'), 'utf8');
  const example = /```ts\n([^]*?)```/.exec(readme)?.[1] ?? '';
  expect(example.trim().split('\n').length).toBeLessThanOrEqual(12);
  const folder = await mkdtemp(join(tmpdir(), 'readme-'));
  try {
    await mkdir(join(folder, 'node_modules/@xgen-small'), { recursive: true });
    await symlink(packageFolder, join(folder, 'node_modules/@xgen-small/tokenizer'), 'dir');
    await writeFile(join(folder, 'example.mjs'), example);
    const { stdout } = await promisify(execFile)(process.execPath, ['example.mjs'], { cwd: folder });
    const [text, ...prompt] = stdout.trim().split('\n');
    expect(text).toBe('The cat and the dog.');
    // It begins with <|im_start|>, which has id 1.
    expect(prompt.join(' ')).toMatch(/^Uint32Array\(\d+\) \[\s*1, +\d+/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
