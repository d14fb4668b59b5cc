import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Recipe } from '../src/recipe/recipe-schema.js';
import { smoke } from '../src/recipes/smoke.js';
import type { RunState } from '../src/run/run-folder.js';
import { xgen } from './xgen.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xgen-cli-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('xgen', () => {
  it('lists its commands', async () => {
    const { code, stdout } = await xgen(['--help'], folder);
    expect(code).toBe(0);
    for (const command of [
      'run',
      'curate',
      'tokenize',
      'pretrain',
      'extend',
      'sft',
      'dpo',
      'ppo',
      'eval',
      'cluster',
      'classifier',
      'serve',
      'report',
      'doctor',
    ]) {
      expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
  });

  it('says which recipes there are, and which one needs a GPU', async () => {
    const { stdout } = await xgen(['run', '--help'], folder);
    expect(stdout.replace(/\s+/g, ' ')).toContain('quickstart, smoke, small-gpu (needs a GPU)');
  });

  it('doctor says which backend will run and why', async () => {
    const { code, stdout } = await xgen(['doctor'], folder);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Will run: (native|wasm|cpu|cuda), because /);
    expect(stdout).toMatch(/cores +\d+/);
  });

  it.each([
    ['an unknown command', ['fly'], /unknown command/],
    ['an unknown flag', ['run', '--fast'], /unknown option '--fast'/],
    ['a backend that is none', ['run', 'smoke', '--backend', 'gpu'], /Allowed choices are auto, native,/],
    [
      'a backend that is not there',
      ['run', 'smoke', '--backend', 'tensorflow', '-o', 'out'],
      /tensorflow cannot be used/,
    ],
    ['a port that is none', ['serve', '--port', 'http'], /a port is a whole number/],
    ['an unknown recipe', ['run', 'slowstart'], /no recipe "slowstart"[\s\S]*quickstart/],
    ['a folder that holds no run', ['report', '.'], /holds no run/],
    ['a folder that holds no model', ['serve', '.'], /neither a run folder nor a model folder/],
  ])('refuses %s with exit code 2 and leaves nothing behind', async (_, args, message) => {
    const { code, stderr } = await xgen(args, folder);
    expect(stderr).toMatch(message);
    expect(code).toBe(args[0] === 'report' ? 1 : 2);
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([
    ['an unknown key', 'recipe.json', JSON.stringify({ ...smoke, modell: {} }), /modell/],
    [
      'a negative length',
      'recipe.json',
      JSON.stringify({ ...smoke, evaluation: { ...smoke.evaluation, mathProblems: -1 } }),
      /mathProblems/,
    ],
    ['broken JSON', 'recipe.json', '{"name": ', /cannot be read/],
    ['no default export', 'recipe.mjs', 'export const recipe = {};', /no default export/],
    ['broken TypeScript', 'recipe.ts', 'export default {', /cannot be read/],
  ])('refuses a recipe with %s before anything starts', async (_, name, text, message) => {
    await writeFile(join(folder, name), text);
    const { code, stderr } = await xgen(['run', name], folder);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/What to do/);
    expect(code).toBe(2);
    expect(await readdir(folder)).toEqual([name]);
  });

  it('curates for a backend that is not there, records it, and trains on no other', async () => {
    const arguments_ = ['smoke', '--backend', 'tensorflow', '-o', 'out'];
    const curated = await xgen(['curate', ...arguments_], folder);
    expect([curated.code, curated.stderr]).toEqual([0, '']);
    const recipe = JSON.parse(await readFile(join(folder, 'out', 'recipe.json'), 'utf8')) as Recipe;
    expect(recipe.compute.backend).toBe('tensorflow');
    const run = JSON.parse(await readFile(join(folder, 'out', 'run.json'), 'utf8')) as RunState;
    expect(Object.keys(run.stages)).toEqual(['curate']);
    expect(run.environment).not.toHaveProperty('backend');
    const trained = await xgen(['run', ...arguments_], folder);
    expect(trained.code).toBe(2);
    expect(trained.stderr).toMatch(/tensorflow cannot be used[\s\S]*--backend native/);
    const other = await xgen(['run', 'smoke', '-o', 'out'], folder);
    expect(other.code).toBe(2);
    expect(other.stderr).toMatch(/compute\.backend differ[\s\S]*--backend tensorflow/);
    expect(JSON.parse(await readFile(join(folder, 'out', 'run.json'), 'utf8'))).toEqual(run);
  });

  it('refuses a stage whose forerunner has not run, and names it', async () => {
    const { code, stderr } = await xgen(['pretrain', 'smoke', '-o', 'out'], folder);
    expect(stderr).toMatch(/"tokenize"/);
    expect(code).toBe(2);
  });

  it('refuses an output folder with other things in it', async () => {
    await mkdir(join(folder, 'out'));
    await writeFile(join(folder, 'out', 'mine.txt'), 'x');
    const { code, stderr } = await xgen(['curate', 'smoke', '-o', 'out'], folder);
    expect(stderr).toMatch(/mine\.txt/);
    expect(code).toBe(2);
    expect(await readdir(join(folder, 'out'))).toEqual(['mine.txt']);
  });
});
