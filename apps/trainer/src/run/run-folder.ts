/**
 * A run is one folder: `recipe.json` (resolved), a folder a stage, `metrics.jsonl`, `report.html` and `run.json`, which
 * says what finished, with the hash of every file a later stage reads. `run.json` changes only by atomic replacement,
 * so a kill leaves the state before or after a stage, never between. A lock file keeps two processes out of one folder.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rm, rmdir, stat, statfs } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { writeFileAtomic } from '@xgen-small/model-core';
import { TrainerError } from '../errors.js';
import { canonicalJson, changedKeys } from '../recipe/canonical-json.js';
import type { Recipe } from '../recipe/recipe-schema.js';

export interface StageOutput {
  /** Relative to the run folder, with forward slashes. */
  path: string;
  bytes: number;
  sha256: string;
}

export interface StageRecord {
  finishedAt: string;
  /** Wall-clock seconds of the process that finished the stage. */
  seconds: number;
  outputs: StageOutput[];
  /** What later stages and the report need; plain JSON. */
  summary: Record<string, unknown>;
}

export interface RunState {
  formatVersion: 1;
  recipe: string;
  recipeSha256: string;
  stages: Record<string, StageRecord>;
  environment: Record<string, unknown>;
}

/** Room for the checkpoints, shards and reports of a small run; larger models fail early on their own checks. */
export const minimumFreeBytes = 500 * 2 ** 20;

/** Hex sha256 of a file, streamed. */
export async function sha256OfFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

export class RunFolder {
  private constructor(
    readonly path: string,
    readonly recipe: Recipe,
    private state: RunState,
    private readonly lockFile: string,
  ) {}

  /**
   * Opens or creates the folder for this recipe. Throws RUN_MISMATCH (naming the settings that differ) when it holds another
   * recipe's run, RUN_LOCKED while another process works in it, NO_DISK_SPACE when less than `minimumFreeBytes` is left.
   */
  static async open(
    path: string,
    recipe: Recipe,
    options: { resume: boolean; minimumFreeBytes: number },
  ): Promise<RunFolder> {
    const folder = resolve(path);
    await makeFolder(folder);
    await requireSpace(folder, options.minimumFreeBytes);
    const text = `${JSON.stringify(recipe, null, 2)}\n`;
    const recipeSha256 = createHash('sha256').update(canonicalJson(recipe)).digest('hex');
    const lockFile = await lock(folder);
    try {
      const recipeFile = join(folder, 'recipe.json');
      const existing = await readJson(recipeFile);
      if (existing !== undefined) {
        const differing = changedKeys(existing, JSON.parse(text));
        if (differing.length > 0) {
          throw new TrainerError(
            'RUN_MISMATCH',
            `${folder} holds a run of another recipe: ${differing.slice(0, 8).join(', ')} differ${differing.length > 8 ? ` (and ${differing.length - 8} more)` : ''}.`,
            {
              value: differing,
              remedy: `Give another --output folder, or run the recipe that began this one${backendFlagOf(existing, differing)}.`,
            },
          );
        }
        if (!options.resume) {
          throw new TrainerError('RUN_MISMATCH', `${folder} already holds a run, and --no-resume was given.`, {
            value: folder,
            remedy: 'Give another --output folder, or leave --no-resume out to continue the run.',
          });
        }
      } else {
        const found = (await readdir(folder)).filter((name) => name !== 'run.lock');
        if (found.length > 0) {
          throw new TrainerError(
            'RUN_MISMATCH',
            `${folder} is not empty and holds no run (found ${found.slice(0, 4).join(', ')}).`,
            {
              value: found,
              remedy: 'Give an empty or new --output folder.',
            },
          );
        }
        await writeFileAtomic(recipeFile, text);
      }
      const state = parseState(await readJson(join(folder, 'run.json')), folder) ?? {
        formatVersion: 1,
        recipe: recipe.name,
        recipeSha256,
        stages: {},
        environment: {},
      };
      if (state.recipeSha256 !== recipeSha256) {
        throw new TrainerError(
          'CORRUPT_RUN',
          `${join(folder, 'run.json')} was made for another recipe than recipe.json beside it.`,
          {
            value: state.recipeSha256,
            remedy: 'Start again in an empty --output folder.',
          },
        );
      }
      return new RunFolder(folder, recipe, state, lockFile);
    } catch (error) {
      await rm(lockFile, { force: true });
      throw error;
    }
  }

  /** Reads a run without locking it: for `report`, `serve` and tests. */
  static async read(path: string): Promise<{ path: string; recipe: Recipe; state: RunState }> {
    const folder = resolve(path);
    const recipe = (await readJson(join(folder, 'recipe.json'))) as Recipe | undefined;
    const state = parseState(await readJson(join(folder, 'run.json')), folder);
    if (!recipe || !state) {
      throw new TrainerError(
        'CORRUPT_RUN',
        `${folder} holds no run: ${recipe ? 'run.json' : 'recipe.json'} is missing.`,
        {
          value: folder,
          remedy: 'Give the folder of a run (xgen run writes runs/<recipe>).',
        },
      );
    }
    return { path: folder, recipe, state };
  }

  get current(): RunState {
    return this.state;
  }

  stage(id: string): StageRecord | undefined {
    return this.state.stages[id];
  }

  /** Folder of a stage, absolute. */
  folder(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  async setEnvironment(environment: Record<string, unknown>): Promise<void> {
    await this.write({ ...this.state, environment });
  }

  async finishStage(
    id: string,
    record: Omit<StageRecord, 'outputs' | 'finishedAt'>,
    outputs: readonly string[],
  ): Promise<void> {
    const hashed: StageOutput[] = [];
    for (const file of [...outputs].sort()) {
      hashed.push({
        path: relative(this.path, file).replaceAll('\\', '/'),
        bytes: (await stat(file)).size,
        sha256: await sha256OfFile(file),
      });
    }
    const stages = {
      ...this.state.stages,
      [id]: { finishedAt: new Date().toISOString(), seconds: record.seconds, outputs: hashed, summary: record.summary },
    };
    await this.write({ ...this.state, stages });
  }

  /** Throws CORRUPT_RUN when a finished stage's file is gone or changed since. Sizes always; contents when `deep`. */
  async verifyStage(id: string, deep = false): Promise<void> {
    for (const output of this.state.stages[id]?.outputs ?? []) {
      const file = join(this.path, output.path);
      const bytes = await stat(file).then(
        (found) => found.size,
        () => undefined,
      );
      const wrong =
        bytes === undefined
          ? 'is missing'
          : bytes !== output.bytes
            ? `has ${bytes} bytes where ${output.bytes} were written`
            : deep && (await sha256OfFile(file)) !== output.sha256
              ? 'has other contents than were written'
              : undefined;
      if (wrong) {
        throw new TrainerError('CORRUPT_RUN', `${file}, an output of the finished stage "${id}", ${wrong}.`, {
          value: output.path,
          remedy: `Restore the file, or start again in another --output folder.`,
        });
      }
    }
  }

  /** Takes a folder back in which nothing has been done yet, so that a run which could not begin stands in nobody's way. */
  async discardUnbegun(): Promise<void> {
    if (existsSync(join(this.path, 'run.json'))) return;
    const others = (await readdir(this.path)).filter((name) => name !== 'run.lock' && name !== 'recipe.json');
    if (others.length > 0) return;
    await rm(join(this.path, 'recipe.json'), { force: true });
    await this.close();
    await rmdir(this.path);
  }

  async close(): Promise<void> {
    await rm(this.lockFile, { force: true });
  }

  private async write(state: RunState): Promise<void> {
    await writeFileAtomic(join(this.path, 'run.json'), `${JSON.stringify(state, null, 2)}\n`);
    this.state = state;
  }
}

/** How to say again what a run was begun with, where it is the backend that differs. */
function backendFlagOf(existing: unknown, differing: readonly string[]): string {
  const backend = (existing as Partial<Recipe>).compute?.backend;
  return differing.includes('compute.backend') && backend !== undefined ? ` (with --backend ${backend})` : '';
}

async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new TrainerError('CORRUPT_RUN', `${file} is not valid JSON.`, {
      value: file,
      remedy: 'It was changed or damaged from outside; restore it, or start again in another --output folder.',
      cause: error,
    });
  }
}

function parseState(value: unknown, folder: string): RunState | undefined {
  if (value === undefined) return undefined;
  const state = value as Partial<RunState>;
  if (state.formatVersion !== 1 || typeof state.recipeSha256 !== 'string' || typeof state.stages !== 'object') {
    throw new TrainerError('CORRUPT_RUN', `${join(folder, 'run.json')} is not a run description of format version 1.`, {
      value: state.formatVersion,
      remedy: 'Use the version that wrote it, or start again in another --output folder.',
    });
  }
  return state as RunState;
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw new TrainerError(
      'INVALID_ARGUMENT',
      `The output folder ${folder} cannot be created: ${(error as Error).message}`,
      {
        value: folder,
        remedy: 'Give an --output folder that you may write to.',
        cause: error,
      },
    );
  }
}

async function requireSpace(folder: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < needed) {
    throw new TrainerError(
      'NO_DISK_SPACE',
      `${folder} has ${(free / 2 ** 20).toFixed(0)} MiB free; this run needs about ${(needed / 2 ** 20).toFixed(0)} MiB.`,
      { value: free, remedy: 'Free some space or give an --output folder on another disk.' },
    );
  }
}

/** Creates `run.lock` with our pid; takes over the lock of a process that is gone. */
async function lock(folder: string): Promise<string> {
  const file = join(folder, 'run.lock');
  for (let attempt = 0; ; attempt++) {
    try {
      const handle = await open(file, 'wx');
      await handle.writeFile(
        JSON.stringify({ pid: process.pid, host: hostname(), started: processStart(process.pid) }),
      );
      await handle.close();
      return file;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 2) throw error;
      const owner = await readFile(file, 'utf8').then(
        (text) => safeParse(text) as { pid?: number; host?: string; started?: string } | undefined,
        () => undefined,
      );
      if (owner?.host === hostname() && owner.pid !== undefined && isAlive(owner.pid, owner.started)) {
        throw new TrainerError('RUN_LOCKED', `Process ${owner.pid} is working in ${dirname(file)}.`, {
          value: owner.pid,
          remedy: 'Wait until it ends or stop it; what it finished is kept.',
          cause: error,
        });
      }
      if (owner?.host !== undefined && owner.host !== hostname()) {
        throw new TrainerError('RUN_LOCKED', `${dirname(file)} is locked by process ${owner.pid} on ${owner.host}.`, {
          value: owner.host,
          remedy: `If that process is gone, remove ${file}.`,
          cause: error,
        });
      }
      await rm(file, { force: true });
    }
  }
}

function safeParse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Start time of a process in clock ticks where /proc tells it: a pid alone may have been given to another since. */
function processStart(pid: number): string | undefined {
  const file = `/proc/${pid}/stat`;
  if (!existsSync(file)) return undefined;
  try {
    const text = readFileSync(file, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function isAlive(pid: number, started: string | undefined): boolean {
  if (pid === process.pid) return started === processStart(pid);
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  const now = processStart(pid);
  return started === undefined || now === undefined || started === now;
}
