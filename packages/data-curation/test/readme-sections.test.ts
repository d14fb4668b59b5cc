/** The examples of the README's sections on classifiers and on a cluster, run as they stand. */

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { curate } from '../src/engine/curate.js';
import { readJson } from '../src/engine/output-folder.js';
import { verifyCuration } from '../src/engine/verify.js';
import { runProgram, SlurmStub } from './cluster/slurm-stub.js';
import { code, prose } from './corpus.js';
import { hashFolder } from './folder-hash.js';

const packageFolder = fileURLToPath(new URL('..', import.meta.url));
const jsonl = (records: readonly unknown[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const good = (index: number) => prose(index, 5);
const bad = (index: number) => `click here buy now ${prose(index, 5).toUpperCase()}`;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'readme-'));
  // So that the name of the package resolves to its own dist.
  await mkdir(join(folder, 'node_modules', '@xgen-small'), { recursive: true });
  await symlink(packageFolder, join(folder, 'node_modules', '@xgen-small', 'data-curation'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The first code block of a section, as a program in a folder of its own. */
async function program(section: string, name: string): Promise<{ script: string; cwd: string }> {
  const readme = await readFile(join(packageFolder, 'README.md'), 'utf8');
  const example = new RegExp(`\\n## ${section}\\n[\\s\\S]*?\`\`\`[jt]s\\n([\\s\\S]*?)\`\`\``).exec(readme)![1];
  const cwd = join(folder, name);
  await mkdir(join(cwd, 'crawl'), { recursive: true });
  await writeFile(join(cwd, `${name}.mjs`), example);
  return { script: join(cwd, `${name}.mjs`), cwd };
}

it('trains a classifier, scores files and curates with it', async () => {
  const { script, cwd } = await program('Classifiers', 'classifiers');
  const graded = Array.from({ length: 300 }, (_, index) =>
    index % 2 === 0 ? { text: good(index), label: 'high' } : { text: bad(index), label: 'low' },
  );
  await writeFile(join(cwd, 'graded.jsonl'), jsonl(graded));
  const crawl = Array.from({ length: 60 }, (_, index) => ({ text: index % 2 === 0 ? good(900 + index) : code(index) }));
  await writeFile(join(cwd, 'crawl', 'a.jsonl'), jsonl(crawl));
  const { stdout } = await promisify(execFile)(process.execPath, [script], { cwd });
  expect(stdout).toMatch(/accuracy: 1,/);
  const scored = (await readFile(join(cwd, 'scored', 'a.jsonl'), 'utf8')).trimEnd().split('\n');
  expect(scored.map((line) => typeof (JSON.parse(line) as { score: unknown }).score)).toEqual(
    crawl.map(() => 'number'),
  );
  const manifest = await verifyCuration(join(cwd, 'corpus'));
  expect(manifest.documents).toBeGreaterThan(25);
  expect(JSON.stringify(await readJson(join(cwd, 'corpus', 'manifest.json')))).toContain('quality.classifier');
});

it('submits a curation whose tasks end with the bytes of the local run', async () => {
  const { script, cwd } = await program('On a cluster', 'cluster');
  for (const file of [0, 1, 2]) {
    const texts = Array.from({ length: 30 }, (_, index) => ({ text: good(30 * file + index) }));
    await writeFile(join(cwd, 'crawl', `${file}.jsonl`), jsonl(texts));
  }
  const stub = await SlurmStub.install(await mkdtemp(join(tmpdir(), 'stub-')));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [script], { cwd });
    expect(stdout).toMatch(/name: 'extract',\n +tasks: 2,\n +done: 0/);
    const submitted = await stub.takeSubmitted();
    expect(submitted.map(({ array }) => array)).toEqual(['0-1', undefined, undefined, '0-1', undefined]);
    expect(await readFile(submitted[0].script, 'utf8')).toContain('#SBATCH --mem=3G\n');
    for (const { script: batch, array } of submitted) {
      for (const task of array === undefined ? ['0'] : ['0', '1']) {
        const environment = { SLURM_JOB_ID: '1', SLURM_ARRAY_TASK_ID: task };
        expect(await runProgram(['bash', batch], { environment })).toMatchObject({ code: 0, printed: '' });
      }
    }
    // The plan is written to the manifest with the paths it has: the local run needs the same.
    const before = process.cwd();
    process.chdir(cwd);
    try {
      await curate(
        { sources: [{ type: 'jsonl', name: 'crawl', path: 'crawl' }] },
        { outputFolder: 'local', workers: 1 },
      );
    } finally {
      process.chdir(before);
    }
    expect(await hashFolder(join(cwd, 'corpus'))).toEqual(await hashFolder(join(cwd, 'local')));
    const again = await promisify(execFile)(process.execPath, [script], { cwd });
    expect(again.stdout).toMatch(/^finished/);
    expect(await stub.takeSubmitted()).toEqual([]);
  } finally {
    await stub.remove();
  }
});
