/**
 * The bundle: a run begun in the workspace goes on in a folder of its own, without npm, the workspace or DuckDB, and ends with the same bytes.
 * Cost: half a minute on two cores.
 */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stageIds } from '../src/run/stage-context.js';
import { repository, reproducible, xgen, type RunJson } from './xgen.js';

const execute = promisify(execFile);
let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'xgen-bundle-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const readRun = async (name: string): Promise<RunJson> =>
  JSON.parse(await readFile(join(home, name, 'run.json'), 'utf8')) as RunJson;

it('goes on with a run of the workspace, to the same bytes', async () => {
  for (const stage of ['curate', 'tokenize']) {
    expect((await xgen([stage, 'smoke', '-o', join(home, 'whole')], repository)).code).toBe(0);
  }
  await cp(join(home, 'whole'), join(home, 'carried'), { recursive: true });
  const script = join(import.meta.dirname, '..', 'scripts', 'bundle.mjs');
  await execute(process.execPath, [script, '--output', join(home, 'bundle')], { cwd: home });
  const program = join(home, 'bundle', 'xgen', 'bin', 'xgen.mjs');
  const [{ stderr }, whole] = await Promise.all([
    execute(process.execPath, [program, 'run', 'smoke', '-o', 'carried'], { cwd: home, env: { PATH: '' } }),
    xgen(['run', 'smoke', '-o', join(home, 'whole')], repository),
  ]);
  expect(stderr).toBe('');
  expect(whole.code).toBe(0);
  const run = await readRun('carried');
  expect(Object.keys(run.stages)).toEqual([...stageIds]);
  expect(reproducible(run)).toEqual(reproducible(await readRun('whole')));
});
