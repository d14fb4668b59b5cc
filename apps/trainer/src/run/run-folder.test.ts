import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir, hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseRecipe } from '../recipe/recipe-schema.js';
import { smoke } from '../recipes/smoke.js';
import { RunFolder } from './run-folder.js';

const recipe = parseRecipe(smoke, 'smoke');
const options = { resume: true, minimumFreeBytes: 0 };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xgen-run-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('RunFolder', () => {
  it('writes the resolved recipe, remembers finished stages and verifies their files', async () => {
    const run = await RunFolder.open(folder, recipe, options);
    const file = join(folder, 'out.txt');
    await writeFile(file, 'result');
    await run.finishStage('curate', { seconds: 1, summary: { documents: 3 } }, [file]);
    await run.close();
    expect(JSON.parse(await readFile(join(folder, 'recipe.json'), 'utf8'))).toEqual(JSON.parse(JSON.stringify(recipe)));
    const again = await RunFolder.open(folder, recipe, options);
    expect(again.stage('curate')?.summary).toEqual({ documents: 3 });
    await again.verifyStage('curate', true);
    await truncate(file, 2);
    await expect(again.verifyStage('curate')).rejects.toMatchObject({ code: 'CORRUPT_RUN' });
    await rm(file);
    await expect(again.verifyStage('curate')).rejects.toThrow(/missing/);
    await again.close();
  });

  it('refuses the run of another recipe and names what differs', async () => {
    await (await RunFolder.open(folder, recipe, options)).close();
    const other = { ...recipe, model: { ...recipe.model, layers: 3 } };
    await expect(RunFolder.open(folder, other, options)).rejects.toThrow(/model\.layers/);
  });

  it('refuses a folder with other things in it, and a resumed run under --no-resume', async () => {
    await writeFile(join(folder, 'thesis.doc'), 'x');
    await expect(RunFolder.open(folder, recipe, options)).rejects.toThrow(/thesis\.doc/);
    await rm(join(folder, 'thesis.doc'));
    await (await RunFolder.open(folder, recipe, options)).close();
    await expect(RunFolder.open(folder, recipe, { ...options, resume: false })).rejects.toMatchObject({
      code: 'RUN_MISMATCH',
    });
  });

  it('refuses damaged state and a full disk', async () => {
    await (await RunFolder.open(folder, recipe, options)).close();
    await writeFile(join(folder, 'run.json'), '{"formatVersion": 1, "rec');
    await expect(RunFolder.open(folder, recipe, options)).rejects.toMatchObject({ code: 'CORRUPT_RUN' });
    await expect(RunFolder.open(folder, recipe, { ...options, minimumFreeBytes: 1e18 })).rejects.toMatchObject({
      code: 'NO_DISK_SPACE',
    });
  });

  it('keeps a second process out while the first lives, and takes over from one that is gone', async () => {
    const child = spawn(process.execPath, ['-e', 'console.log("up"); setTimeout(() => {}, 60000)'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(child.stdout, 'data');
    await writeFile(join(folder, 'run.lock'), JSON.stringify({ pid: child.pid, host: hostname() }));
    await expect(RunFolder.open(folder, recipe, options)).rejects.toMatchObject({ code: 'RUN_LOCKED' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await (await RunFolder.open(folder, recipe, options)).close();
    await expect(readFile(join(folder, 'run.lock'))).rejects.toThrow(/ENOENT/);
  });
});
