// What a user gets from the registry, proved on the tarballs themselves: publint and are-the-types-wrong find nothing, no
// stray file is inside, and the packages install into an empty folder outside the workspace, import, and do a first thing.
// Cost: packs eight packages and one npm install from the registry, about a minute.
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const execute = promisify(execFile);
const root = resolve(import.meta.dirname, '../../..');
const names = (await readdir(join(root, 'packages'))).sort();
const tools = join(root, 'node_modules', '.bin');

let folder: string;
const tarballs = new Map<string, string>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xgen-small-packages-'));
  for (const name of names) {
    await execute('pnpm', ['pack', '--pack-destination', folder], { cwd: join(root, 'packages', name) });
  }
  for (const file of await readdir(folder)) {
    const name = /^xgen-small-(.+)-\d+\.\d+\.\d+.*\.tgz$/.exec(file)?.[1];
    if (name) tarballs.set(name, join(folder, file));
  }
}, 300_000);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function entries(tarball: string): Promise<string[]> {
  const { stdout } = await execute('tar', ['-tzf', tarball]);
  return stdout.trim().split('\n');
}

describe.each(names)('%s', (name) => {
  it('packs', () => {
    expect([...tarballs.keys()]).toContain(name);
  });

  it('carries its README and licence, and neither tests nor sources of TypeScript', async () => {
    const files = await entries(tarballs.get(name)!);
    expect(files).toContain('package/README.md');
    expect(files).toContain('package/LICENSE');
    expect(files.filter((file) => /\.test\.|\/src\/.*\.ts$|\/bench\/|\.map$/.test(file))).toEqual([]);
  });

  it('has nothing that publint or are-the-types-wrong reject', async () => {
    await execute(join(tools, 'publint'), ['run', tarballs.get(name)!, '--strict'], { cwd: root });
    // ESM only, on purpose: `require()` of ESM is what Node >= 20.19 offers, and the old node10 resolution is past.
    await execute(join(tools, 'attw'), [tarballs.get(name)!, '--profile', 'esm-only'], { cwd: root });
  });

  it('names no workspace protocol in what it publishes', async () => {
    const { stdout } = await execute('tar', ['-xzOf', tarballs.get(name)!, 'package/package.json']);
    expect(stdout).not.toContain('workspace:');
    const manifest = JSON.parse(stdout) as { license: string; engines: { node: string }; description: string };
    expect(manifest).toMatchObject({ license: 'Apache-2.0', engines: { node: '>=20.19' } });
    expect(manifest.description.length).toBeGreaterThan(20);
  });
});

describe('an empty folder outside the workspace', () => {
  it('installs all the tarballs and imports each', async () => {
    const home = join(folder, 'outside');
    await execute('mkdir', ['-p', home]);
    await writeFile(join(home, 'package.json'), JSON.stringify({ name: 'outside', private: true, type: 'module' }));
    await execute('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...tarballs.values()], {
      cwd: home,
    });
    const script = `
      const counts = {};
      for (const name of ${JSON.stringify(names)}) counts[name] = Object.keys(await import('@xgen-small/' + name)).length;
      console.log(JSON.stringify(counts));
    `;
    await writeFile(join(home, 'import-all.mjs'), script);
    const { stdout } = await execute(process.execPath, ['import-all.mjs'], { cwd: home });
    const counts = JSON.parse(stdout) as Record<string, number>;
    for (const name of names) expect(counts[name], name).toBeGreaterThan(0);
    const installed = JSON.parse(await readFile(join(home, 'package.json'), 'utf8')) as { dependencies: object };
    expect(Object.keys(installed.dependencies)).toHaveLength(names.length);
  }, 300_000);
});
