import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { produceFile, removeLeftovers } from './files.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'files-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it('writes again what another process took for a leftover', async () => {
  let writes = 0;
  await produceFile(join(folder, 'a'), async (temporary) => {
    await writeFile(temporary, 'whole');
    if (++writes < 3) await removeLeftovers(folder);
  });
  expect(await readFile(join(folder, 'a'), 'utf8')).toBe('whole');
  expect(await readdir(folder)).toEqual(['a']);
});

it('fails where the folder is gone, and does not bring it back', async () => {
  await rm(folder, { recursive: true });
  await expect(produceFile(join(folder, 'a'), (temporary) => writeFile(temporary, 'whole'))).rejects.toMatchObject({
    code: 'ENOENT',
  });
  await expect(readdir(folder)).rejects.toMatchObject({ code: 'ENOENT' });
});

it('leaves nothing of what could not be written', async () => {
  const failure = produceFile(join(folder, 'a'), async (temporary) => {
    await writeFile(temporary, 'half');
    throw new Error('the disk is full');
  });
  await expect(failure).rejects.toThrow('the disk is full');
  expect(await readdir(folder)).toEqual([]);
});
