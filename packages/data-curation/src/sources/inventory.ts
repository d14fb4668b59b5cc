/**
 * The inventory: which files a plan reads, in which order, cut into tasks of similar size. It depends on the plan and the files
 * only, never on the number of workers. Memory: the list of files.
 */

import { resolve } from 'node:path';
import type { CurationPlan } from '../plan/schema.js';
import type { FolderSourcePlan, SourcePlan } from '../plan/source-schema.js';
import { compareStrings, hash48 } from '../util/hash.js';
import { downloadFolder } from './download.js';
import { listFiles } from './walk.js';
import type { InputFile } from './raw-document.js';

/** One unit of per-document work: some files of one source, or a range of generated documents. */
export interface InputTask {
  task: number;
  /** Index into the plan's sources. */
  source: number;
  /** Absolute folder of the files. */
  root: string;
  files: InputFile[];
  /** Generated documents [first, last). */
  range?: [first: number, last: number];
  /** Bytes to read, for progress; an estimate for generated documents. */
  bytes: number;
}

const taskBytes = 4 * 1024 * 1024;
const taskFiles = 1000;
const generatedPerTask = 2000;
const generatedBytes = 1000;

export interface InventoryOptions {
  /** Where the files of sources with `urls` lie. */
  downloads: string;
  /** Left out where it lies inside a source. */
  outputFolder: string;
  signal?: AbortSignal;
}

export async function takeInventory(plan: CurationPlan, options: InventoryOptions): Promise<InputTask[]> {
  const tasks: InputTask[] = [];
  for (const [index, source] of plan.sources.entries()) {
    for (const piece of await piecesOf(source, plan.seed, options)) {
      tasks.push({ task: tasks.length, source: index, ...piece });
    }
  }
  return tasks;
}

type Piece = Omit<InputTask, 'task' | 'source'>;

async function piecesOf(source: SourcePlan, seed: number, options: InventoryOptions): Promise<Piece[]> {
  if (source.type === 'mathProblems') {
    const pieces: Piece[] = [];
    for (let first = 0; first < source.documents; first += generatedPerTask) {
      const last = Math.min(source.documents, first + generatedPerTask);
      pieces.push({ root: '', files: [], range: [first, last], bytes: (last - first) * generatedBytes });
    }
    return pieces;
  }
  const path = source.path === undefined ? downloadFolder(options.downloads, source.name) : resolve(source.path);
  const { root, files } = await listFiles(path, {
    include: source.path === undefined ? ['*'] : source.include,
    exclude: source.exclude,
    skipFolder: source.path === undefined ? undefined : options.outputFolder,
    signal: options.signal,
  });
  if (source.type !== 'folder') return files.map((file) => ({ root, files: [file], bytes: file.bytes }));
  const chosen = withinBudget(files, source, seed);
  const pieces: Piece[] = [];
  for (const file of chosen) {
    const last = pieces.at(-1);
    // A file above the limit is not read and costs nothing.
    const bytes = file.bytes > source.maximumFileBytes ? 0 : file.bytes;
    if (last === undefined || last.bytes + bytes > taskBytes || last.files.length >= taskFiles) {
      pieces.push({ root, files: [file], bytes });
    } else {
      last.files.push(file);
      last.bytes += bytes;
    }
  }
  return pieces;
}

/** The files of smallest hash until the budget is reached, in their old order. */
function withinBudget(
  files: readonly InputFile[],
  { name, byteBudget: budget, maximumFileBytes }: FolderSourcePlan,
  seed: number,
): InputFile[] {
  if (budget === undefined) return [...files];
  const ranked = files
    .map((file) => ({ file, rank: hash48('budget', seed, name, file.path) }))
    .sort((a, b) => a.rank - b.rank || compareStrings(a.file.path, b.file.path));
  const chosen = new Set<InputFile>();
  let bytes = 0;
  for (const { file } of ranked) {
    if (bytes >= budget) break;
    chosen.add(file);
    // Files above the limit are named in the report but not read.
    if (file.bytes <= maximumFileBytes) bytes += file.bytes;
  }
  return files.filter((file) => chosen.has(file));
}
