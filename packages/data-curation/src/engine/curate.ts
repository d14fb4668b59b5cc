/**
 * The whole curation: inventory → per-document work in tasks → selection over all documents → shards → manifest. Every step leaves
 * finished files under `<output>/.work`, so that a killed run continues; the bytes of the output depend on the plan and
 * the input only. Cost: each document is read once and its text written twice (part, shard).
 */

import { mkdir, readFile, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { CurationError } from '../errors.js';
import type { CurationPlan, CurationPlanInput } from '../plan/schema.js';
import { hashPlan, parseCurationPlan } from '../plan/schema.js';
import { renderReport } from '../report/html.js';
import { downloadSources } from '../sources/download.js';
import type { InputTask } from '../sources/inventory.js';
import { takeInventory } from '../sources/inventory.js';
import { canonicalJson } from '../util/canonical-json.js';
import { removeLeftovers, sha256OfText, writeFileWhole } from '../util/files.js';
import type { TaskResult } from './extract-task.js';
import { buildManifest } from './manifest.js';
import { claimFolder, curateResult, exists, readFinished, readJson } from './output-folder.js';
import type { References } from './references.js';
import { loadReferences } from './references.js';
import type { RunInputs } from './run-inputs.js';
import { firstDifference } from './run-inputs.js';
import type { ClusterSummary } from './cluster.js';
import { clusterDocuments } from './cluster.js';
import type { Selection } from './select.js';
import { selectDocuments } from './select.js';
import type { ShardJob, ShardResult } from './shard-task.js';
import { shardResultPath } from './shard-task.js';
import { emptyStats, mergeStats } from './task-stats.js';
import type { TrimSummary } from './trim.js';
import { trimDocuments } from './trim.js';
import { trimFiles } from './trim-tasks.js';
import type { CurateOptions, CurateResult, OutputShard } from './types.js';
import type { WorkFolder } from './work-folder.js';
import { pieceName, workFolder } from './work-folder.js';
import { throwIfAborted, WorkerPool } from './worker-pool.js';

/**
 * Runs a plan, or continues it, or returns its finished output.
 * @throws CurationError `PLAN_INVALID`, `OPTION_INVALID`, `INPUT_NOT_FOUND`, `INPUT_INVALID` (with `onBadInput: 'fail'`),
 * `INPUT_CHANGED` (files differ from those of the interrupted run), `OUTPUT_FOLDER_MISMATCH` (another plan's folder),
 * `OUTPUT_CORRUPT`, `ABORTED`, `WORKER_FAILED`.
 */
export async function curate(planInput: CurationPlanInput, options: CurateOptions): Promise<CurateResult> {
  const plan = parseCurationPlan(planInput);
  const planHash = hashPlan(plan);
  const workers = options.workers ?? Math.min(8, availableParallelism());
  if (!Number.isSafeInteger(workers) || workers < 1) {
    throw new CurationError('OPTION_INVALID', `workers is ${workers}.`, { value: workers, remedy: 'Give 1 or more.' });
  }
  const outputFolder = resolve(options.outputFolder);
  await claimFolder(outputFolder, plan, planHash);
  const finished = await readFinished(outputFolder, plan, planHash);
  if (finished !== undefined) return finished;

  const run = new CurationRun(plan, planHash, outputFolder, workers, options);
  return run.execute();
}

class CurationRun {
  readonly #folder: WorkFolder;
  readonly #pool: WorkerPool;
  readonly #timings: Record<string, number> = {};

  constructor(
    readonly plan: CurationPlan,
    readonly planHash: string,
    readonly outputFolder: string,
    readonly workers: number,
    readonly options: CurateOptions,
  ) {
    this.#folder = workFolder(outputFolder);
    this.#pool = new WorkerPool(workers, {
      plan,
      tasksFolder: this.#folder.tasks,
      temporaryFolder: join(this.#folder.root, 'spill'),
    });
  }

  async execute(): Promise<CurateResult> {
    try {
      return await this.#steps();
    } finally {
      await this.#pool.close();
    }
  }

  async #steps(): Promise<CurateResult> {
    const folder = this.#folder;
    for (const path of [folder.tasks, folder.shards]) await mkdir(path, { recursive: true });
    for (const path of [this.outputFolder, folder.root, folder.tasks, folder.shards]) await removeLeftovers(path);
    for (const name of ['shards', 'heldout', 'mixtures']) await removeLeftovers(join(this.outputFolder, name));
    const references = await loadReferences(this.plan);
    await this.#timed('downloads', () => downloadSources(this.plan, folder.downloads, this.options));
    const tasks = await this.#timed('inventory', () => this.#inventory(references));
    const results = await this.#timed('documents', () => this.#extract(tasks));
    const clusters = await this.#timed('duplicates', () => this.#cluster(results));
    const trim = await this.#timed('repeated text', () => this.#trim(results));
    const selection = await this.#timed('selection', () => this.#select(references, results, clusters, trim));
    const { shards, heldout } = await this.#timed('shards', () => this.#writeShards(selection, results, trim));
    return this.#finish(tasks, references, results, selection, shards, heldout);
  }

  async #timed<T>(name: string, step: () => Promise<T>): Promise<T> {
    const start = performance.now();
    throwIfAborted(this.options.signal);
    const value = await step();
    this.#timings[name] = (performance.now() - start) / 1000;
    return value;
  }

  async #inventory({ files }: References): Promise<InputTask[]> {
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
    } else if (before !== text) {
      const difference = firstDifference(JSON.parse(before) as RunInputs, inputs);
      throw new CurationError('INPUT_CHANGED', `The input of ${this.outputFolder} changed: ${difference}.`, {
        value: this.outputFolder,
        remedy: 'Give the files back their state, or curate into a new folder.',
      });
    }
    return tasks;
  }

  async #extract(tasks: readonly InputTask[]): Promise<TaskResult[]> {
    const path = (task: InputTask) => join(this.#folder.tasks, `${pieceName(task.task)}.json`);
    const open: InputTask[] = [];
    let completed = 0;
    const total = tasks.reduce((sum, task) => sum + task.bytes, 0);
    for (const task of tasks) {
      if (await exists(path(task))) completed += task.bytes;
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
    const results: TaskResult[] = [];
    for (const task of tasks) results.push(await readJson<TaskResult>(path(task)));
    return results;
  }

  async #cluster(results: readonly TaskResult[]): Promise<ClusterSummary> {
    const folder = this.#folder;
    if ((await exists(folder.clusters)) && (await exists(folder.representatives))) return readJson(folder.clusters);
    const { near } = this.plan.deduplication;
    return clusterDocuments({
      plan: this.plan,
      folder,
      tasks: results,
      bands: near === false ? 0 : near.bands,
      workers: this.workers,
      onBand: (completed, total) => {
        throwIfAborted(this.options.signal);
        this.options.onProgress?.({ task: 'find duplicates', completed, total, unit: 'bands' });
      },
    });
  }

  async #trim(results: readonly TaskResult[]): Promise<TrimSummary | undefined> {
    const { signal, onProgress } = this.options;
    return trimDocuments({
      plan: this.plan,
      folder: this.#folder,
      tasks: results,
      pool: this.#pool,
      workers: this.workers,
      signal,
      onProgress,
    });
  }

  async #select(
    references: References,
    results: readonly TaskResult[],
    clusters: ClusterSummary,
    trim: TrimSummary | undefined,
  ): Promise<Selection> {
    const folder = this.#folder;
    if ((await exists(folder.selection)) && (await exists(folder.decisions))) return readJson(folder.selection);
    const stats = emptyStats();
    for (const result of results) mergeStats(stats, result.stats, this.plan.output.examples);
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
    });
  }

  async #writeShards(
    selection: Selection,
    results: readonly TaskResult[],
    trim: TrimSummary | undefined,
  ): Promise<{ shards: OutputShard[]; heldout: OutputShard[] }> {
    const jobs: ShardJob[] = selection.shards.map((shard) => ({
      path: join(
        this.outputFolder,
        shard.heldout ? 'heldout' : 'shards',
        `shard-${String(shard.shard).padStart(5, '0')}.parquet`,
      ),
      heldout: shard.heldout,
      shard: shard.shard,
      documents: shard.documents,
      textBytes: shard.textBytes,
      parts: results
        .slice(shard.firstTask, shard.lastTask + 1)
        .flatMap((result) => result.parts.map((part) => join(this.#folder.tasks, part.file))),
      texts:
        trim === undefined
          ? []
          : results
              .slice(shard.firstTask, shard.lastTask + 1)
              .filter(({ parts }) => parts.length > 0)
              .map(({ task }) => trimFiles.texts(this.#folder.trim, task)),
      decisions: this.#folder.decisions,
      results: this.#folder.shards,
    }));
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
    const outputs = { shards: [] as OutputShard[], heldout: [] as OutputShard[] };
    for (const job of jobs) {
      const { documents, textBytes, sha256 } = await readJson<ShardResult>(shardResultPath(job));
      outputs[job.heldout ? 'heldout' : 'shards'].push({ path: job.path, documents, textBytes, sha256 });
    }
    return outputs;
  }

  async #finish(
    tasks: readonly InputTask[],
    references: References,
    results: readonly TaskResult[],
    { report, mixtures }: Selection,
    shards: OutputShard[],
    heldout: OutputShard[],
  ): Promise<CurateResult> {
    const inputs = results.flatMap((result, index) =>
      result.inputs.map((input) => ({ source: this.plan.sources[tasks[index].source].name, ...input })),
    );
    const inputLines = inputs.map((input) => `${canonicalJson(input)}\n`).join('');
    await writeFileWhole(join(this.outputFolder, 'inputs.jsonl'), inputLines);
    const reportText = `${canonicalJson(report, 2)}\n`;
    const html = renderReport(report);
    await writeFileWhole(join(this.outputFolder, 'report.json'), reportText);
    await writeFileWhole(join(this.outputFolder, 'report.html'), html);
    const removed = results
      .flatMap(({ stats }) => stats.contaminated.map((entry) => `${canonicalJson(entry)}\n`))
      .join('');
    if (this.plan.decontamination !== undefined) {
      await writeFileWhole(join(this.outputFolder, 'decontamination.jsonl'), removed);
    }
    const manifest = buildManifest({
      mixtures,
      references: references.files,
      decontamination:
        this.plan.decontamination === undefined
          ? undefined
          : { path: 'decontamination.jsonl', sha256: sha256OfText(removed) },
      plan: this.plan,
      planHash: this.planHash,
      outputFolder: this.outputFolder,
      inputs: {
        path: 'inputs.jsonl',
        files: inputs.length,
        bytes: inputs.reduce((sum, input) => sum + input.bytes, 0),
        sha256: sha256OfText(inputLines),
      },
      shards,
      heldout,
      reportSha256: sha256OfText(reportText),
      reportHtmlSha256: sha256OfText(html),
    });
    await writeFileWhole(join(this.outputFolder, 'manifest.json'), `${canonicalJson(manifest, 2)}\n`);
    await rm(this.#folder.root, { recursive: true, force: true });
    return curateResult(this.outputFolder, manifest, report, this.#timings, this.#pool.timings);
  }
}
