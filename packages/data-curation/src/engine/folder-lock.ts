/**
 * One process at a time works in an output folder. The lock is a file that names its owner: process, start of the process, start of
 * the machine, host. That of a process that has ended is taken over; that of a living one is an error. A process on another
 * host cannot be asked, so its lock is respected. Cluster tasks share a folder on purpose and take no lock.
 * Cost: a few small files.
 */

import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { CurationError } from '../errors.js';
import { workFolder } from './work-folder.js';

export interface FolderLock {
  release(): Promise<void>;
}

interface Owner {
  pid: number;
  host: string;
  /** Start of the process and boot of the machine, where the system tells (Linux): a process number may be given again. */
  processStart?: string;
  boot?: string;
  token: string;
}

/** With the work in progress, which goes when the output is whole. */
export function lockPath(outputFolder: string): string {
  return join(workFolder(outputFolder).root, 'lock.json');
}

/** @throws CurationError `OUTPUT_FOLDER_BUSY` naming the process that works in the folder. */
export async function lockFolder(outputFolder: string): Promise<FolderLock> {
  const path = lockPath(outputFolder);
  await mkdir(dirname(path), { recursive: true });
  const owner: Owner = {
    pid: process.pid,
    host: hostname(),
    processStart: await processStart(process.pid),
    boot: await bootOfMachine(),
    token: randomUUID(),
  };
  const text = `${JSON.stringify(owner)}\n`;
  const temporary = `${path}.${owner.token}.partial`;
  try {
    // A few turns: others may take the lock over, or tidy the folder, at the same time.
    for (let attempt = 0; attempt < 5; attempt++) {
      await writeFile(temporary, text, { flush: true });
      if (await linked(temporary, path)) {
        await removeLeftovers(path, owner.token);
        return { release: () => release(path, text) };
      }
      const found = await readFile(path, 'utf8').catch(() => undefined);
      if (found === undefined) continue;
      const other = parseOwner(found);
      if (other !== undefined && (await isAlive(other))) throw busy(outputFolder, path, other);
      if (await takenOver(path, found, temporary)) {
        await removeLeftovers(path, owner.token);
        return { release: () => release(path, text) };
      }
    }
    throw busy(outputFolder, path, undefined);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Creates `path` with the content of `temporary`, whole or not at all; false when it exists. */
async function linked(temporary: string, path: string): Promise<boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' || code === 'ENOENT') return false;
    // No hard links here (some network and FAT file systems): an exclusive write instead.
    try {
      await writeFile(path, await readFile(temporary), { flag: 'wx', flush: true });
      return true;
    } catch (second) {
      const { code: secondCode } = second as NodeJS.ErrnoException;
      if (secondCode === 'EEXIST' || secondCode === 'ENOENT') return false;
      throw second;
    }
  }
}

/**
 * Puts `temporary` in a stale lock's place; false where another does that or has done it. Only who holds the claim on this very lock may, and its
 * dead owner changes nothing any more: so nobody moves away a lock that was taken between a look and a step.
 */
async function takenOver(path: string, stale: string, temporary: string): Promise<boolean> {
  const claim = await claimOn(path, stale, temporary);
  if (claim === undefined) return false;
  try {
    // Who comes late gets the claim once more, and finds another lock.
    if ((await readFile(path, 'utf8').catch(() => undefined)) !== stale) return false;
    await rename(temporary, path);
    return true;
  } finally {
    await rm(claim, { force: true });
  }
}

/** The file that is the claim on a stale lock, or on the claim on it of a process that has ended as well; undefined where a living one has it. */
async function claimOn(path: string, stale: string, temporary: string): Promise<string | undefined> {
  for (let content = stale; ;) {
    const claim = `${path}.claim-${createHash('sha256').update(content).digest('hex').slice(0, 16)}.partial`;
    if (await linked(temporary, claim)) return claim;
    const found = await readFile(claim, 'utf8').catch(() => undefined);
    const other = found === undefined ? undefined : parseOwner(found);
    if (found === undefined || other === undefined || (await isAlive(other))) return undefined;
    content = found;
  }
}

/** Removes what processes that were killed while they took or put aside the lock have left beside it. */
async function removeLeftovers(path: string, ownToken: string): Promise<void> {
  for (const name of await readdir(dirname(path))) {
    const isTemporary = name.startsWith(`${basename(path)}.`) && name.endsWith('.partial');
    if (!isTemporary || name.includes(ownToken)) continue;
    const leftover = join(dirname(path), name);
    const owner = parseOwner(await readFile(leftover, 'utf8').catch(() => ''));
    if (owner === undefined || !(await isAlive(owner))) await rm(leftover, { force: true });
  }
}

async function release(path: string, text: string): Promise<void> {
  const found = await readFile(path, 'utf8').catch(() => undefined);
  if (found === text) await rm(path, { force: true });
}

function parseOwner(text: string): Owner | undefined {
  try {
    const value = JSON.parse(text) as Partial<Owner>;
    return typeof value.pid === 'number' && typeof value.host === 'string' ? (value as Owner) : undefined;
  } catch {
    return undefined;
  }
}

async function isAlive(owner: Owner): Promise<boolean> {
  if (owner.host !== hostname()) return true;
  const boot = await bootOfMachine();
  if (owner.boot !== undefined && boot !== undefined && owner.boot !== boot) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const start = await processStart(owner.pid);
  return owner.processStart === undefined || start === undefined || start === owner.processStart;
}

/** Clock ticks from boot to the start of a process (field 22 of Linux's `stat`); undefined elsewhere. */
async function processStart(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The name of the program stands in parentheses and may hold blanks.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

async function bootOfMachine(): Promise<string | undefined> {
  const text = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => undefined);
  return text?.trim();
}

function busy(outputFolder: string, path: string, owner: Owner | undefined): CurationError {
  if (owner === undefined) {
    return new CurationError('OUTPUT_FOLDER_BUSY', `Other processes are taking ${outputFolder} at this moment.`, {
      value: outputFolder,
      remedy: 'Run it again when they have ended.',
    });
  }
  const isHere = owner.host === hostname();
  const who = isHere ? `process ${owner.pid}` : `process ${owner.pid} on the host ${owner.host}`;
  return new CurationError('OUTPUT_FOLDER_BUSY', `${who} is curating into ${outputFolder}.`, {
    value: owner.pid,
    remedy: isHere
      ? `Wait for it, stop it (kill ${owner.pid}), or choose another output folder.`
      : `Wait for it or choose another output folder; if that process has ended, delete ${path}.`,
  });
}
