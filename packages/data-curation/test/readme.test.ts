import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { verifyCuration } from '../src/engine/verify.js';

const packageFolder = fileURLToPath(new URL('..', import.meta.url));

it('runs the first example of the README as it stands', async () => {
  const readme = await readFile(join(packageFolder, 'README.md'), 'utf8');
  const example = /```ts\n([\s\S]*?)```/.exec(readme)![1];
  // Inside the package, so that the name of the package resolves to its own dist.
  const script = join(packageFolder, '.vitest/readme/example.mjs');
  await mkdir(join(script, '..'), { recursive: true });
  await writeFile(script, example);
  const folder = await mkdtemp(join(tmpdir(), 'curation-readme-'));
  try {
    await symlink(join(packageFolder, '../../node_modules'), join(folder, 'node_modules'));
    const { stdout } = await promisify(execFile)(process.execPath, [script], { cwd: folder });
    expect(stdout).toContain('report.html in a browser.');
    const manifest = await verifyCuration(join(folder, 'corpus'));
    expect(manifest.documents).toBeGreaterThan(500);
    expect(manifest.heldout.length).toBe(1);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
