/**
 * One task of a submitted curation. It may run anywhere that sees the output folder, again after any failure, and twice at the same
 * time: pieces appear whole under names that depend on the plan only, with bytes that do too, and nothing else is shared.
 */

import { mkdtemp, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CurationRun } from '../engine/curate.js';
import { exists, readJson } from '../engine/output-folder.js';
import { hashReferences, loadReferences } from '../engine/references.js';
import type { RunInputs } from '../engine/run-inputs.js';
import { firstDifference } from '../engine/run-inputs.js';
import { groupLocated, groupScanned, runTrimPass, summarizeTrim, wantsTrim } from '../engine/trim.js';
import type { CurateOptions } from '../engine/types.js';
import { removeWorkFolder, workFolder } from '../engine/work-folder.js';
import { CurationError } from '../errors.js';
import type { InputTask } from '../sources/inventory.js';
import { canonicalJson } from '../util/canonical-json.js';
import { removeLeftovers, writeFileWhole } from '../util/files.js';
import { restartCommand } from './batch-script.js';
import type { ClusterRun } from './cluster-run.js';
import { loadClusterRun } from './cluster-run.js';
import { clusterFolder } from './layout.js';
import type { AttemptNote, FailureNote } from './notes.js';
import { openTasks, readPieces, readSelection, trimPassOf } from './progress.js';
import type { ClusterStage, ClusterStageName } from './stages.js';
import { piecesOf, stagesOf } from './stages.js';

export interface CurationTaskOptions extends Pick<CurateOptions, 'signal' | 'onProgress'> {
  outputFolder: string;
  /** Stage and number of the task, as the batch script gives them. */
  stage: string;
  task: number;
  /** Refuse to work for another run than this. */
  runId?: string;
  /** The machine's name in the status; default: its host name. */
  node?: string;
  /** How long to wait for files of the stage before that a network file system may not show yet; default 30,000 ms. */
  patienceMilliseconds?: number;
}

/**
 * Does one task of a submitted run; one that is done already returns at once.
 * @throws CurationError `CLUSTER_RUN_NOT_FOUND`, `PLAN_CHANGED`, `SOFTWARE_CHANGED`, `INPUT_CHANGED`, `OPTION_INVALID`,
 * `CLUSTER_TASKS_MISSING` (naming the tasks of the stage before and how to restart them), and what the work itself throws.
 */
export async function runCurationTask(options: CurationTaskOptions): Promise<void> {
  const outputFolder = resolve(options.outputFolder);
  const isFinished = () => exists(join(outputFolder, 'manifest.json'));
  if (!(await isFinished())) {
    try {
      await runOpenTask(options, outputFolder);
    } catch (error) {
      // Another process may finish the run at any moment, and takes the work folder away under this one.
      if (!(await isFinished())) throw error;
    }
  }
  // A task killed between the manifest and here, or what this one wrote meanwhile, may have left some of it.
  if (await isFinished()) await removeWorkFolder(workFolder(outputFolder));
}

async function runOpenTask(options: CurationTaskOptions, outputFolder: string): Promise<void> {
  const run = await loadClusterRun(outputFolder, options.runId);
  const stages = stagesOf(run.plan, run.tasks);
  const index = stages.findIndex(({ name }) => name === options.stage);
  const stage = stages[index];
  const { task } = options;
  if (stage === undefined || !Number.isSafeInteger(task) || task < 0 || task >= stage.tasks) {
    throw new CurationError('OPTION_INVALID', `There is no task ${task} of a stage ${JSON.stringify(options.stage)}.`, {
      value: `${options.stage} ${task}`,
      remedy: `The stages and their numbers of tasks: ${stages.map(({ name, tasks }) => `${name} ${tasks}`).join(', ')}.`,
    });
  }
  const folder = clusterFolder(outputFolder);
  const node = options.node ?? hostname();
  const attempt: AttemptNote = { node, host: hostname(), pid: process.pid, startedAt: new Date().toISOString() };
  await writeFileWhole(folder.attempt(stage.name, task), canonicalJson(attempt));
  let scratch: string | undefined;
  try {
    if (!(await openTasks(run, outputFolder, stage)).includes(task)) return;
    if (index > 0) await requireStage(run, outputFolder, stages[index - 1], options);
    scratch = await mkdtemp(join(folder.scratch, `${stage.name}-${task}-`));
    const { signal, onProgress } = options;
    const { memoryLimit } = run;
    const engine = new CurationRun(
      run.plan,
      run.planHash,
      outputFolder,
      run.workers,
      { memoryLimit, signal, onProgress },
      scratch,
    );
    try {
      await stageWork[stage.name]({ run, outputFolder, stage, task, engine });
    } finally {
      await engine.close();
    }
    await rm(folder.failure(stage.name, task), { force: true });
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const failure: FailureNote = {
      ...attempt,
      failedAt: new Date().toISOString(),
      code: typeof code === 'string' ? code : 'UNEXPECTED',
      message: String(message ?? error),
      restart: restartCommand(folder, stage, [task]),
    };
    await writeFileWhole(folder.failure(stage.name, task), canonicalJson(failure)).catch(() => undefined);
    throw error;
  } finally {
    if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
  }
}

interface TaskContext {
  run: ClusterRun;
  outputFolder: string;
  stage: ClusterStage;
  task: number;
  engine: CurationRun;
}

const stageWork: Record<ClusterStageName, (context: TaskContext) => Promise<void>> = {
  async extract(context) {
    const { tasks, references } = await inputs(context);
    await requireReferences(context, references);
    const mine = piecesOf(tasks, { task: context.task, tasks: context.stage.tasks });
    await requireUnchanged(mine);
    await context.engine.extract(mine);
  },
  async duplicates(context) {
    const { tasks } = await inputs(context);
    const pieces = await context.engine.extract(tasks);
    await writeFileWhole(clusterFolder(context.outputFolder).pieces, canonicalJson(pieces));
    await context.engine.cluster(pieces);
  },
  'trim-scan': trimPass,
  async 'trim-group'({ engine, outputFolder }) {
    await groupScanned(engine.trimOptions(await pieces(outputFolder)));
  },
  'trim-locate': trimPass,
  async 'trim-repeats'({ engine, outputFolder }) {
    await groupLocated(engine.trimOptions(await pieces(outputFolder)));
  },
  'trim-apply': trimPass,
  async select(context) {
    const { engine, outputFolder, run } = context;
    await requireReferences(context, (await inputs(context)).references);
    const references = await loadReferences(run.plan);
    const tasks = await pieces(outputFolder);
    const trim = wantsTrim(run.plan) ? await summarizeTrim(engine.trimOptions(tasks)) : undefined;
    await engine.select(references, tasks, await engine.cluster(tasks), trim);
  },
  async shards({ engine, outputFolder, stage, task }) {
    const jobs = engine.shardJobs(await selection(outputFolder), await pieces(outputFolder));
    await engine.writeShards(piecesOf(jobs, { task, tasks: stage.tasks }));
  },
  async finish(context) {
    const { engine, outputFolder } = context;
    const { tasks, references } = await inputs(context);
    await requireReferences(context, references);
    const stored = await pieces(outputFolder);
    const selected = await selection(outputFolder);
    // What killed tasks left half-written.
    for (const name of ['.', 'shards', 'heldout', 'mixtures']) await removeLeftovers(join(outputFolder, name));
    await engine.finish(
      tasks,
      { files: references, evaluationNgrams: undefined },
      stored,
      selected,
      engine.shardJobs(selected, stored),
    );
  },
};

async function trimPass({ engine, outputFolder, stage, task }: TaskContext): Promise<void> {
  const stored = await pieces(outputFolder);
  const mine = new Set(piecesOf(stored, { task, tasks: stage.tasks }).map((piece) => piece.task));
  const includes = (piece: number) => mine.has(piece);
  await runTrimPass({ ...engine.trimOptions(stored), includes }, trimPassOf[stage.name as keyof typeof trimPassOf]);
}

function inputs({ outputFolder }: TaskContext): Promise<RunInputs> {
  return readJson<RunInputs>(workFolder(outputFolder).inventory);
}

async function pieces(outputFolder: string) {
  return (await readPieces(outputFolder)) ?? missing(clusterFolder(outputFolder).pieces);
}

async function selection(outputFolder: string) {
  const folder = workFolder(outputFolder);
  return (await readSelection(folder)) ?? missing(folder.selection);
}

function missing(path: string): never {
  throw new CurationError('OUTPUT_CORRUPT', `${path} has gone.`, {
    value: path,
    remedy: 'Submit the curation again.',
  });
}

async function requireStage(
  run: ClusterRun,
  outputFolder: string,
  stage: ClusterStage,
  { patienceMilliseconds = 30_000, signal }: CurationTaskOptions,
): Promise<void> {
  const until = performance.now() + patienceMilliseconds;
  let open = await openTasks(run, outputFolder, stage);
  while (open.length > 0 && performance.now() < until) {
    await sleep(Math.min(1000, patienceMilliseconds), undefined, { signal });
    open = await openTasks(run, outputFolder, stage);
  }
  if (open.length === 0) return;
  throw new CurationError(
    'CLUSTER_TASKS_MISSING',
    `The stage ${stage.name} is not done: ${open.length} of ${stage.tasks} tasks are missing (${open.slice(0, 20).join(', ')}${open.length > 20 ? ', …' : ''}).`,
    {
      value: open,
      remedy: `Submit the curation again, which runs what is missing; or those alone: ${restartCommand(clusterFolder(outputFolder), stage, open)}.`,
    },
  );
}

/** The input files as they were at the submission. */
async function requireUnchanged(tasks: readonly InputTask[]): Promise<void> {
  for (const { root, files } of tasks) {
    for (const file of files) {
      const path = join(root, file.path);
      const found = await stat(path).catch((error: unknown) => {
        throw new CurationError('INPUT_NOT_FOUND', `The input file ${path} cannot be read on ${hostname()}.`, {
          value: path,
          remedy: 'Put the input on storage that every node shares, and give the file back.',
          cause: error,
        });
      });
      if (found.size === file.bytes && Math.floor(found.mtimeMs) === file.modified) continue;
      throw new CurationError('INPUT_CHANGED', `${path} was modified since the curation was submitted.`, {
        value: path,
        remedy: 'Give the file back its state (its time too), or curate into a new folder.',
      });
    }
  }
}

/** Classifiers and evaluation sets have to be those of the submission. */
async function requireReferences({ run }: TaskContext, expected: RunInputs['references']): Promise<void> {
  const files = await hashReferences(run.plan);
  if (canonicalJson(files) === canonicalJson(expected)) return;
  const changed = firstDifference({ tasks: [], references: expected }, { tasks: [], references: files });
  throw new CurationError('INPUT_CHANGED', `${changed} since the curation was submitted.`, {
    value: changed,
    remedy: 'Give the file back its state, or curate into a new folder.',
  });
}
