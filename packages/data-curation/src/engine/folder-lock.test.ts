import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { curate } from './curate.js';
import { lockFolder, lockPath } from './folder-lock.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'lock-'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const readLock = async () => JSON.parse(await readFile(lockPath(root), 'utf8')) as Record<string, unknown>;

async function writeLock(changes: object): Promise<void> {
  const lock = await lockFolder(root);
  const owner = await readLock();
  await lock.release();
  await mkdir(join(lockPath(root), '..'), { recursive: true });
  await writeFile(lockPath(root), JSON.stringify({ ...owner, ...changes }));
}

describe('lockFolder', () => {
  it('admits one at a time and leaves nothing behind', async () => {
    const lock = await lockFolder(root);
    await expect(lockFolder(root)).rejects.toMatchObject({
      code: 'OUTPUT_FOLDER_BUSY',
      value: process.pid,
      message: expect.stringMatching(
        new RegExp(`process ${process.pid} is curating into .*kill ${process.pid}\\), or choose another`),
      ) as string,
    });
    await lock.release();
    await (await lockFolder(root)).release();
    expect(await readdir(join(lockPath(root), '..'))).toEqual([]);
  });

  it('lets only one of many through', async () => {
    const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(root)));
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('lets only one of many take a stale lock over', async () => {
    const child = spawn('true');
    await once(child, 'exit');
    await writeLock({ pid: child.pid });
    const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(root)));
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect((await readLock()).pid).toBe(process.pid);
  });

  it('takes a stale lock over whose next owner was killed before it had it', async () => {
    const child = spawn('true');
    await once(child, 'exit');
    await writeLock({ pid: child.pid });
    const stale = await readFile(lockPath(root), 'utf8');
    const claim = `claim-${createHash('sha256').update(stale).digest('hex').slice(0, 16)}`;
    const dead = JSON.stringify({ ...(JSON.parse(stale) as object), token: 'another' });
    await writeFile(`${lockPath(root)}.${claim}.partial`, dead);
    const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(root)));
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await readdir(join(lockPath(root), '..'))).toEqual(['lock.json']);
  });

  it('removes what killed processes left beside it, and nothing of living ones', async () => {
    const child = spawn('true');
    await once(child, 'exit');
    const lock = await lockFolder(root);
    const owner = await readLock();
    await lock.release();
    const folder = join(lockPath(root), '..');
    await mkdir(folder, { recursive: true });
    const write = (name: string, content: string) => writeFile(join(folder, `lock.json.${name}.partial`), content);
    await write('a', JSON.stringify({ ...owner, pid: child.pid }));
    await write('b', '{"pid": ');
    await write('stale-c', JSON.stringify({ ...owner, processStart: '1' }));
    await write('d', JSON.stringify(owner));
    await lockFolder(root);
    expect((await readdir(folder)).sort()).toEqual(['lock.json', 'lock.json.d.partial']);
  });

  it.each([
    ['a process number that was given again', { processStart: '1' }],
    ['a machine that was restarted', { boot: 'another' }],
  ])('takes over the lock of %s', async (_, changes) => {
    await writeLock(changes);
    await lockFolder(root);
    expect(await readLock()).not.toMatchObject(changes);
  });

  it('takes over a file that is no lock', async () => {
    await writeLock({});
    await writeFile(lockPath(root), '{"pid": ');
    await lockFolder(root);
    expect((await readLock()).host).toBe(hostname());
  });

  it('respects the lock of another host, and says which file to delete', async () => {
    await writeLock({ host: 'elsewhere', pid: 12 });
    await expect(lockFolder(root)).rejects.toThrow(/process 12 on the host elsewhere .* delete .*lock\.json/);
  });
});

describe('curate', () => {
  it('refuses a folder that its database cannot use, and does not make it', async () => {
    const plan = { sources: [{ type: 'mathProblems' as const, name: 'm', documents: 5 }] };
    const outputFolder = join(root, 'out?', 'a');
    await expect(curate(plan, { outputFolder })).rejects.toMatchObject({ code: 'OPTION_INVALID', value: outputFolder });
    expect(await readdir(root)).toEqual([]);
  });

  it('refuses a folder that another process works in, continues after that was killed, and shares a finished one', async () => {
    const plan = { sources: [{ type: 'mathProblems' as const, name: 'm', documents: 20_000 }] };
    const outputFolder = join(root, 'out');
    const script = `
      import { curate } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
      await curate(${JSON.stringify(plan)}, { outputFolder: ${JSON.stringify(outputFolder)}, workers: 1, onProgress: () => console.log('on') });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await expect(curate(plan, { outputFolder, workers: 1 })).rejects.toMatchObject({
      code: 'OUTPUT_FOLDER_BUSY',
      value: child.pid,
    });
    child.kill('SIGKILL');
    await once(child, 'exit');
    const small = { sources: [{ ...plan.sources[0], documents: 50 }] };
    await expect(curate(small, { outputFolder, workers: 1 })).rejects.toMatchObject({ code: 'OUTPUT_FOLDER_MISMATCH' });
    await rm(outputFolder, { recursive: true });
    const [first, second] = await Promise.allSettled([
      curate(small, { outputFolder, workers: 1 }),
      curate(small, { outputFolder, workers: 1 }),
    ]);
    expect([first.status, second.status].sort()).toEqual(['fulfilled', 'rejected']);
    const both = await Promise.all([curate(small, { outputFolder }), curate(small, { outputFolder })]);
    expect(both[0].shards).toEqual(both[1].shards);
  });
});
