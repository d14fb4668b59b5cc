/**
 * The whole curation: inventory → per-document work in tasks → selection over all documents → shards → manifest. Every step leaves
 * finished files under `<output>/.work`, so that a killed run continues; the bytes of the output depend on the plan and
 * the input only. Cost: each document is read once and its text written twice (part, shard).
 */

import { mkdir, readFile, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { refuseSubmitted } from '../cluster/cluster-run.js';
import { CurationError } from '../errors.js';
import type { CurationPlan, CurationPlanInput } from '../plan/schema.js';
import { hashPlan, parseCurationPlan } from '../plan/schema.js';
import { renderReport } from '../report/html.js';
import { downloadSources } from '../sources/download.js';
import type { InputTask } from '../sources/inventory.js';
import { takeInventory } from '../sources/inventory.js';
import { canonicalJson } from '../util/canonical-json.js';
import { againIfRemoved, removeLeftovers, sha256OfText, writeFileWhole } from '../util/files.js';
import type { TaskResult } from './extract-task.js';
import { lockFolder } from './folder-lock.js';
import { listContaminated, listInputs } from './output-lists.js';
import { buildManifest, softwareVersions } from './manifest.js';
import type { MemoryBudget } from './memory-budget.js';
import { planMemory } from './memory-budget.js';
import { claimFolder, curateResult, exists, readFinished, readJson } from './output-folder.js';
import type { References } from './references.js';
import { loadReferences } from './references.js';
import type { RunInputs } from './run-inputs.js';
import { changedTasks, firstDifference } from './run-inputs.js';
import type { ClusterSummary, StoredTask } from './duplicate-clusters.js';
import { clusterDocuments } from './duplicate-clusters.js';
import type { Selection } from './select.js';
import { selectDocuments } from './select.js';
import type { ShardJob, ShardResult } from './shard-task.js';
import { shardFileName, shardResultPath } from './shard-task.js';
import { emptyStats, mergeStats } from './task-stats.js';
import type { TrimOptions, TrimSummary } from './trim.js';
import { trimDocuments, wantsTrim } from './trim.js';
import { trimFiles } from './trim-tasks.js';
import type { CurateOptions, CurateResult, OutputShard } from './types.js';
import type { WorkFolder } from './work-folder.js';
import { pieceName, removeWorkFolder, workFolder } from './work-folder.js';
import { throwIfAborted, WorkerPool } from './worker-pool.js';

/**
 * Runs a plan, or continues it, or returns its finished output.
 * @throws CurationError `PLAN_INVALID`, `OPTION_INVALID`, `INPUT_NOT_FOUND`, `INPUT_INVALID` (with `onBadInput: 'fail'`),
 * `INPUT_CHANGED` (files differ from those of the interrupted run), `OUTPUT_FOLDER_MISMATCH` (another plan's folder),
 * `OUTPUT_FOLDER_BUSY` (another process works in it), `CLUSTER_RUN_ACTIVE` (submitted to a cluster), `OUTPUT_CORRUPT`, `ABORTED`, `WORKER_FAILED`.
 */
export async function curate(planInput: CurationPlanInput, options: CurateOptions): Promise<CurateResult> {
  const plan = parseCurationPlan(planInput);
  const planHash = hashPlan(plan);
  const workers = options.workers ?? Math.min(8, availableParallelism());
  if (!Number.isSafeInteger(workers) || workers < 1) {
    throw new CurationError('OPTION_INVALID', `workers is ${workers}.`, { value: workers, remedy: 'Give 1 or more.' });
  }
  planMemory(plan, workers, options.memoryLimit);
  const outputFolder = resolve(options.outputFolder);
  // Whoever only wants a finished result need not wait for others who want it too.
  const finished = await readFinished(outputFolder, plan, planHash);
  if (finished !== undefined) return finished;
  const lock = await lockFolder(outputFolder);
  try {
    await claimFolder(outputFolder, plan, planHash);
    await refuseSubmitted(outputFolder);
    const finishedMeanwhile = await readFinished(outputFolder, plan, planHash);
    if (finishedMeanwhile !== undefined) return finishedMeanwhile;
    return await new CurationRun(plan, planHash, outputFolder, workers, options).execute();
  } finally {
    await lock.release();
  }
}

/** The steps of a run, each of which skips what is finished: `curate` does all of them, a task of a cluster does some. */
export class CurationRun {
  readonly #folder: WorkFolder;
  readonly #pool: WorkerPool;
  readonly #budget: MemoryBudget;
  readonly #timings: Record<string, number> = {};
  readonly #processorTimings: Record<string, number> = {};

  constructor(
    readonly plan: CurationPlan,
    readonly planHash: string,
    readonly outputFolder: string,
    readonly workers: number,
    readonly options: Omit<CurateOptions, 'outputFolder' | 'workers'>,
    /** Where this process alone may write; default: the work folder. */
    scratch?: string,
  ) {
    this.#folder = workFolder(outputFolder, scratch);
    const budget = planMemory(plan, workers, options.memoryLimit);
    this.#budget = budget;
    this.#pool = new WorkerPool(
      { threads: budget.workers, heapMebibytes: budget.workerHeapMebibytes },
      {
        plan,
        tasksFolder: this.#folder.tasks,
        temporaryFolder: join(this.#folder.scratch, 'spill'),
        databaseMebibytes: budget.workerDatabaseMebibytes,
        largeReadMebibytes: budget.largeReadMebibytes,
        largeReadSlot: new SharedArrayBuffer(4),
      },
    );
  }

  async execute(): Promise<CurateResult> {
    try {
      return await this.#steps();
    } finally {
      await this.close();
    }
  }

  /** Ends the worker threads. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #steps(): Promise<CurateResult> {
    const folder = this.#folder;
    for (const path of [folder.tasks, folder.shards]) await mkdir(path, { recursive: true });
    for (const path of [this.outputFolder, folder.root, folder.tasks, folder.shards]) await removeLeftovers(path);
    for (const name of ['shards', 'heldout', 'mixtures']) await removeLeftovers(join(this.outputFolder, name));
    const references = await loadReferences(this.plan);
    await this.#timed('downloads', () => downloadSources(this.plan, folder.downloads, this.options));
    const tasks = await this.#timed('inventory', () => this.inventory(references));
    const results = await this.#timed('documents', () => this.extract(tasks)).catch(async (error: unknown) => {
      if (CurationError.isInstance(error) && error.code === 'INPUT_INVALID') {
        await writeFileWhole(folder.rejected, canonicalJson({ input: error.value }));
      }
      throw error;
    });
    const clusters = await this.#timed('duplicates', () => this.cluster(results));
    const trim = await this.#timed('repeated text', () => trimDocuments(this.trimOptions(results)));
    const selection = await this.#timed('selection', () => this.select(references, results, clusters, trim));
    const jobs = this.shardJobs(selection, results);
    await this.#timed('shards', () => this.writeShards(jobs));
    return this.finish(tasks, references, results, selection, jobs);
  }

  async #timed<T>(name: string, step: () => Promise<T>): Promise<T> {
    throwIfAborted(this.options.signal);
    const start = performance.now();
    const usedBefore = process.cpuUsage();
    const value = await step();
    const used = process.cpuUsage(usedBefore);
    this.#timings[name] = (performance.now() - start) / 1000;
    this.#processorTimings[name] = (used.user + used.system) / 1e6;
    return value;
  }

  async inventory({ files }: References): Promise<InputTask[]> {
    const tasks = await takeInventory(this.plan, {
      downloads: this.#folder.downloads,
      outputFolder: this.outputFolder,
      signal: this.options.signal,
    }).catch((error: unknown) => {
      throwIfAborted(this.options.signal);
      throw error;
    });
    const inputs: RunInputs = { tasks, references: files };
    const text = canonicalJson(inputs);
    const before = await readFile(this.#folder.inventory, 'utf8').catch(() => undefined);
    if (before === undefined) {
      await writeFileWhole(this.#folder.inventory, text);
    } else if (before !== text && !(await this.#takeUpRepaired(JSON.parse(before) as RunInputs, inputs))) {
      const difference = firstDifference(JSON.parse(before) as RunInputs, inputs);
      throw new CurationError('INPUT_CHANGED', `The input of ${this.outputFolder} changed: ${difference}.`, {
        value: this.outputFolder,
        remedy: 'Give the files back their state, or curate into a new folder.',
      });
    }
    return tasks;
  }

  /** Bad input stopped the run, and was repaired since: what was read of files that changed is forgotten. */
  async #takeUpRepaired(before: RunInputs, now: RunInputs): Promise<boolean> {
    const changed = changedTasks(before, now);
    if (changed === undefined || !(await exists(this.#folder.rejected))) return false;
    for (const task of changed) await rm(this.#taskResultPath({ task }), { force: true });
    await writeFileWhole(this.#folder.inventory, canonicalJson(now));
    await rm(this.#folder.rejected);
    return true;
  }

  async extract(tasks: readonly InputTask[]): Promise<StoredTask[]> {
    const open: InputTask[] = [];
    let completed = 0;
    const total = tasks.reduce((sum, task) => sum + task.bytes, 0);
    for (const task of tasks) {
      if (await exists(this.#taskResultPath(task))) completed += task.bytes;
      else open.push(task);
    }
    const report = (detail?: string) =>
      this.options.onProgress?.({ task: 'read and filter', completed, total, unit: 'bytes', detail });
    report();
    await this.#pool.run(open, {
      signal: this.options.signal,
      toMessage: (task) => ({ kind: 'extract', task }),
      onDone: (task) => {
        completed += task.bytes;
        report(this.plan.sources[task.source].name);
      },
    });
    const stored: StoredTask[] = [];
    for (const task of tasks) {
      const { documents, parts } = await this.#taskResult(task);
      stored.push({ task: task.task, documents, parts });
    }
    return stored;
  }

  #taskResultPath({ task }: Pick<InputTask, 'task'>): string {
    return join(this.#folder.tasks, `${pieceName(task)}.json`);
  }

  /** Counts and examples are read one task at a time: together they would grow with the corpus. */
  #taskResult(task: Pick<InputTask, 'task'>): Promise<TaskResult> {
    return readJson<TaskResult>(this.#taskResultPath(task));
  }

  async cluster(results: readonly StoredTask[]): Promise<ClusterSummary> {
    const folder = this.#folder;
    if ((await exists(folder.clusters)) && (await exists(folder.representatives))) return readJson(folder.clusters);
    const { near } = this.plan.deduplication;
    // The memory of the workers is the main thread's now.
    await this.#pool.close();
    return clusterDocuments({
      plan: this.plan,
      folder,
      tasks: results,
      bands: near === false ? 0 : near.bands,
      workers: this.workers,
      databaseMebibytes: this.#budget.mainDatabaseMebibytes,
      onBand: (completed, total) => {
        throwIfAborted(this.options.signal);
        this.options.onProgress?.({ task: 'find duplicates', completed, total, unit: 'bands' });
      },
    });
  }

  trimOptions(tasks: readonly StoredTask[]): TrimOptions {
    const { signal, onProgress } = this.options;
    return {
      plan: this.plan,
      folder: this.#folder,
      tasks,
      pool: this.#pool,
      workers: this.workers,
      databaseMebibytes: this.#budget.mainDatabaseMebibytes,
      signal,
      onProgress,
    };
  }

  async select(
    references: References,
    results: readonly StoredTask[],
    clusters: ClusterSummary,
    trim: TrimSummary | undefined,
  ): Promise<Selection> {
    const folder = this.#folder;
    if ((await exists(folder.selection)) && (await exists(folder.decisions))) return readJson(folder.selection);
    const stats = emptyStats();
    for (const task of results) mergeStats(stats, (await this.#taskResult(task)).stats, this.plan.output.examples);
    await this.#pool.close();
    return selectDocuments({
      outputFolder: this.outputFolder,
      plan: this.plan,
      planHash: this.planHash,
      folder,
      tasks: results,
      stats,
      clusters,
      trim,
      evaluationNgrams: references.evaluationNgrams,
      workers: this.workers,
      databaseMebibytes: this.#budget.mainDatabaseMebibytes,
    });
  }

  shardJobs({ shards }: Pick<Selection, 'shards'>, tasks: readonly StoredTask[]): ShardJob[] {
    return shards.map((shard) => ({
      path: join(this.outputFolder, shard.heldout ? 'heldout' : 'shards', shardFileName(shard.shard)),
      heldout: shard.heldout,
      shard: shard.shard,
      documents: shard.documents,
      textBytes: shard.textBytes,
      parts: tasks.slice(shard.firstTask, shard.lastTask + 1).flatMap(({ task, parts }) =>
        parts.map(({ file }) => ({
          path: join(this.#folder.tasks, file),
          texts: wantsTrim(this.plan) ? trimFiles.texts(this.#folder.trim, task) : undefined,
        })),
      ),
      decisions: this.#folder.decisions,
      results: this.#folder.shards,
    }));
  }

  async writeShards(jobs: readonly ShardJob[]): Promise<void> {
    for (const folder of new Set(jobs.map((job) => dirname(job.path)))) await mkdir(folder, { recursive: true });
    const open: ShardJob[] = [];
    for (const job of jobs) if (!(await exists(shardResultPath(job)))) open.push(job);
    const total = jobs.reduce((sum, job) => sum + job.documents, 0);
    let completed = total - open.reduce((sum, job) => sum + job.documents, 0);
    const report = () => this.options.onProgress?.({ task: 'write shards', completed, total, unit: 'documents' });
    report();
    await this.#pool.run(open, {
      signal: this.options.signal,
      toMessage: (shard) => ({ kind: 'shard', shard }),
      onDone: (job) => {
        completed += job.documents;
        report();
      },
    });
  }

  /** Lists the shards, which have to be there, writes the reports and, last, the manifest; then nothing is left to continue from. */
  async finish(
    tasks: readonly InputTask[],
    references: References,
    results: readonly StoredTask[],
    { report, mixtures }: Selection,
    jobs: readonly ShardJob[],
  ): Promise<CurateResult> {
    const outputs = { shards: [] as OutputShard[], heldout: [] as OutputShard[] };
    for (const job of jobs) {
      const { documents, textBytes, sha256 } = await readJson<ShardResult>(shardResultPath(job));
      outputs[job.heldout ? 'heldout' : 'shards'].push({ path: job.path, documents, textBytes, sha256 });
    }
    const inputs = await againIfRemoved(() =>
      listInputs(this.outputFolder, this.plan, tasks, (task) => this.#taskResult(task)),
    );
    const reportText = `${canonicalJson(report, 2)}\n`;
    const html = renderReport(report);
    await writeFileWhole(join(this.outputFolder, 'report.json'), reportText);
    await writeFileWhole(join(this.outputFolder, 'report.html'), html);
    const manifest = buildManifest({
      software: await softwareVersions(),
      mixtures,
      references: references.files,
      decontamination:
        this.plan.decontamination === undefined
          ? undefined
          : {
              path: 'decontamination.jsonl',
              sha256: await againIfRemoved(() => listContaminated(this.outputFolder, this.#folder.tasks, results)),
            },
      plan: this.plan,
      planHash: this.planHash,
      outputFolder: this.outputFolder,
      inputs,
      shards: outputs.shards,
      heldout: outputs.heldout,
      reportSha256: sha256OfText(reportText),
      reportHtmlSha256: sha256OfText(html),
    });
    await writeFileWhole(join(this.outputFolder, 'manifest.json'), `${canonicalJson(manifest, 2)}\n`);
    await removeWorkFolder(this.#folder);
    return curateResult(this.outputFolder, manifest, report, {
      timings: this.#timings,
      processorTimings: this.#processorTimings,
      documentTimings: this.#pool.timings,
    });
  }
}
