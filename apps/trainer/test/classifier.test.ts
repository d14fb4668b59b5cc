/** `xgen classifier`: from labelled files to a model, from the model to scored files and into the curation of a recipe. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { code, prose } from '../../../packages/data-curation/test/corpus.js';
import { smoke } from '../src/recipes/smoke.js';
import { xgen, type RunJson } from './xgen.js';

let home: string;
const jsonl = (records: readonly unknown[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const run = (...args: string[]) => xgen(['classifier', ...args], home);
const sha256 = async (name: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(join(home, name)))
    .digest('hex');

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'xgen-classifier-'));
  const graded = Array.from({ length: 300 }, (_, index) => ({
    text: index % 2 === 0 ? prose(index, 5) : `click here buy now ${prose(index, 5).toUpperCase()}`,
    label: index % 2 === 0 ? 'high' : 'low',
  }));
  await writeFile(join(home, 'graded.jsonl'), jsonl(graded));
  const fresh = Array.from({ length: 100 }, (_, index) => ({
    text: index % 2 === 0 ? prose(9000 + index, 5) : `click here buy now ${prose(9000 + index, 5).toUpperCase()}`,
  }));
  await writeFile(join(home, 'a.jsonl'), jsonl(fresh));
  await writeFile(join(home, 'b.jsonl.gz'), gzipSync(jsonl(fresh)));
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe('xgen classifier', () => {
  it('trains the same bytes again, and says how good they are', async () => {
    const { code: exitCode, stdout, stderr } = await run('train', 'graded.jsonl', '-o', 'quality.classifier');
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/label +train +calibration +test +AUC\n +high +\d+ +\d+ +\d+ +1\.0000\n +low/);
    expect(stdout).toMatch(/together +100\.0 % +0\.0\d+ +0\.0\d+/);
    expect(stdout).toMatch(/0\.9–1\.0 +\d+ +\d+\.\d %/);
    expect(stdout).toMatch(/ +high +low\n +high +\d+ +0\n +low +0 +\d+/);
    expect(stdout).toMatch(
      /curation\.quality: \[\{ method: 'classifier', model: 'quality\.classifier', label: 'high' \}\]/,
    );
    const first = await sha256('quality.classifier');
    // From parts in another order, the same texts.
    const lines = (await readFile(join(home, 'graded.jsonl'), 'utf8')).trimEnd().split('\n');
    await writeFile(join(home, 'second.jsonl'), `${lines.slice(100).reverse().join('\n')}\n`);
    await writeFile(join(home, 'first.jsonl.gz'), gzipSync(`${lines.slice(0, 100).join('\n')}\n`));
    await run('train', 'second.jsonl', 'first.jsonl.gz', '-o', 'again.classifier');
    expect(await sha256('again.classifier')).toBe(first);
    expect((await run('train', 'graded.jsonl', '--seed', '1', '-o', 'other.classifier')).code).toBe(0);
    expect(await sha256('other.classifier')).not.toBe(first);
  });

  it('scores files with one classifier or the mean of several, and does nothing twice', async () => {
    const apply = (...more: string[]) =>
      run(
        'apply',
        'quality.classifier',
        'other.classifier',
        'a.jsonl',
        'b.jsonl.gz',
        '--label',
        'high',
        '-o',
        'scored',
        ...more,
      );
    const { code: exitCode, stdout, stderr } = await apply();
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/high +100 +50\.0 %/);
    expect(stdout).toMatch(/200 documents in 2 files: /);
    const plain = await readFile(join(home, 'scored', 'a.jsonl'), 'utf8');
    expect(gunzipSync(await readFile(join(home, 'scored', 'b.jsonl.gz'))).toString()).toBe(plain);
    const scores = plain
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { score: number }).score);
    for (const [index, score] of scores.entries()) {
      if (index % 2 === 0) expect(score).toBeGreaterThan(0.5);
      else expect(score).toBeLessThan(0.5);
    }
    const before = await sha256('scored/a.jsonl');
    expect((await apply()).stdout).toMatch(/in 2 files, 2 of them done before/);
    expect(await sha256('scored/a.jsonl')).toBe(before);
    const otherwise = await apply('--column', 'quality');
    expect(otherwise.code).toBe(2);
    expect(otherwise.stderr).toMatch(/OUTPUT_FOLDER_MISMATCH/);
  });

  it('takes labels from paths, and puts domains and quality into a recipe that lies beside the models', async () => {
    const programs = Array.from({ length: 200 }, (_, index) => ({ text: code(index) }));
    await writeFile(join(home, 'programs.jsonl'), jsonl(programs));
    const trained = await run(
      ...['train', '--kind', 'domain', 'programs=programs.jsonl', 'prose=graded.jsonl', '-o', 'domains.classifier'],
    );
    expect(trained).toMatchObject({ code: 0, stderr: '' });
    expect(trained.stdout).toMatch(/curation\.domains: \{ method: 'classifier', model: 'domains\.classifier' \}/);
    const recipe = {
      ...smoke,
      name: 'classified',
      curation: {
        sources: [
          { type: 'jsonl', name: 'a', path: 'a.jsonl' },
          { type: 'jsonl', name: 'p', path: 'programs.jsonl' },
          {
            type: 'mathProblems',
            name: 'maths',
            documents: 20,
            difficulty: [1],
            heldoutFraction: 0.05,
            domain: 'maths',
          },
        ],
        filters: [{ filter: 'length' }],
        domains: { method: 'classifier', model: 'domains.classifier' },
        quality: [{ method: 'classifier', model: 'quality.classifier', domains: ['prose'] }],
      },
    };
    await writeFile(join(home, 'recipe.json'), JSON.stringify(recipe));
    // From elsewhere: the paths of the recipe are relative to itself.
    const curated = await xgen(['curate', join(home, 'recipe.json'), '-o', join(home, 'run')], tmpdir());
    expect(curated).toMatchObject({ code: 0, stderr: '' });
    const state = JSON.parse(await readFile(join(home, 'run', 'run.json'), 'utf8')) as RunJson;
    const report = state.stages.curate.outputs.find(({ path }) => path.endsWith('report.json'))!;
    const { domains } = JSON.parse(await readFile(join(home, 'run', report.path), 'utf8')) as {
      domains: { domain: string }[];
    };
    expect(domains.map(({ domain }) => domain)).toEqual(expect.arrayContaining(['programs', 'prose']));
  });

  it.each([
    ['one label alone', ['train', 'good=a.jsonl', '-o', 'x'], /All examples have the label "good"/],
    ['an empty text', ['train', 'empty.jsonl', '-o', 'x'], /empty\.jsonl#2: the text in "text" is empty/],
    ['records without a label', ['train', 'a.jsonl', '-o', 'x'], /a\.jsonl#1: no label in "label"/],
    ['a file that is not there', ['train', 'nowhere.jsonl', '-o', 'x'], /nowhere\.jsonl cannot be read/],
    ['a quality without its label', ['train', 'graded.jsonl', '--label', 'best', '-o', 'x'], /one of high, low/],
    [
      'a domain that is none',
      ['train', '--kind', 'domain', 'A b=a.jsonl', 'c=graded.jsonl', '-o', 'x'],
      /"A b" cannot be/,
    ],
    ['no examples wanted', ['train', 'graded.jsonl', '--examples', '0', '-o', 'x'], /whole number, 1 or more/],
    ['a classifier that is none', ['apply', 'a.jsonl', 'b.jsonl.gz', '-o', 'x'], /a\.jsonl is not a classifier/],
    ['nothing to classify', ['apply', 'quality.classifier', '-o', 'x'], /no files to classify/],
    ['an unknown label', ['apply', 'quality.classifier', 'a.jsonl', '--label', 'best', '-o', 'x'], /no label "best"/],
    [
      'a file of another kind',
      ['apply', 'quality.classifier', 'notes.txt', '-o', 'x'],
      /neither JSON Lines nor Parquet/,
    ],
  ])('refuses %s with exit code 2, and leaves nothing behind', async (_, args, message) => {
    await writeFile(
      join(home, 'empty.jsonl'),
      jsonl([
        { text: 'a', label: 'high' },
        { text: ' ', label: 'low' },
      ]),
    );
    await writeFile(join(home, 'notes.txt'), 'notes');
    const before = (await readdir(home)).sort();
    const { code: exitCode, stderr } = await run(...args);
    expect(stderr).toMatch(message);
    expect(exitCode).toBe(2);
    expect((await readdir(home)).sort()).toEqual(before);
  });
});
