// The check of all packages' types in one process refuses what `tsc --noEmit` does, and knows all that the packages ask for.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { projectsOf, typeErrors } from '../../scripts/type-errors.mjs';

const base = resolve(import.meta.dirname, '../../typescript/base.json');
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xgen-small-types-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function codesOf(source: string, compilerOptions: Record<string, unknown> = {}): Promise<number[]> {
  const config = join(folder, 'tsconfig.json');
  await writeFile(
    config,
    JSON.stringify({ extends: base, compilerOptions: { types: [], ...compilerOptions }, files: ['a.ts'] }),
  );
  await writeFile(join(folder, 'a.ts'), source);
  return typeErrors(config).map(({ code }) => code);
}

it('finds errors of types, of syntax and of the project, project by project', async () => {
  expect(await codesOf('export const a: number = 1;')).toEqual([]);
  expect(await codesOf("export const a: number = 'one';")).toEqual([2322]);
  expect(await codesOf('export const a = ;')).toEqual([1109]);
  expect(await codesOf("import { b } from './nowhere.js';\nexport const a = b;")).toEqual([2307]);
  expect(await codesOf('export const a = 1;', { noSuchOption: true })).toEqual([5023]);
  // The same declarations as in the project before, under other libraries.
  expect(await codesOf('export const a = document.title;')).toEqual([2584]);
  expect(await codesOf('export const a = document.title;', { lib: ['ES2022', 'DOM'] })).toEqual([]);
  expect(await codesOf('export const a = document.title;')).toEqual([2584]);
});

it('takes the projects from the scripts, and refuses a script that does something else', async () => {
  const scripts = (typecheck?: string) =>
    writeFile(join(folder, 'package.json'), JSON.stringify({ scripts: { typecheck } }));
  await scripts('tsc --noEmit && tsc --noEmit -p src/page');
  expect(projectsOf(folder)).toEqual([join(folder, 'tsconfig.json'), join(folder, 'src/page', 'tsconfig.json')]);
  await scripts();
  expect(projectsOf(folder)).toEqual([]);
  await scripts('tsc --noEmit --skipLibCheck');
  expect(() => projectsOf(folder)).toThrow(/only tsc --noEmit/);
});
