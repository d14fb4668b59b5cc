/**
 * One task: read its input, pass each document through the processor, store what is kept. Its result file appears last, so a task is
 * either finished or does not count; doing it again gives the same bytes.
 */

import { join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { mathDocuments } from '../generators/math-documents.js';
import type { CurationPlan } from '../plan/schema.js';
import type { SourcePlan } from '../plan/source-schema.js';
import type { InputTask } from '../sources/inventory.js';
import { readJsonl } from '../sources/jsonl.js';
import type { LargeReads } from '../sources/parquet.js';
import { readParquet } from '../sources/parquet.js';
import type { RawDocument, SourceObserver } from '../sources/raw-document.js';
import { inputError } from '../sources/raw-document.js';
import { canonicalJson } from '../util/canonical-json.js';
import { writeFileWhole } from '../util/files.js';
import { LineFile } from '../util/line-file.js';
import type { StoredPart } from './document-store.js';
import { DocumentStore } from './document-store.js';
import type { DocumentProcessor } from './process-document.js';
import type { TaskStats } from './task-stats.js';
import { countInto, emptyStats, recordBadInput } from './task-stats.js';
import { pieceName } from './work-folder.js';

export interface TaskResult {
  task: number;
  documents: number;
  parts: StoredPart[];
  inputs: { path: string; bytes: number; sha256: string }[];
  stats: TaskStats;
}

/** Lists the task's contaminated documents; there with `decontamination` in the plan. */
export function contaminatedPath(folder: string, task: number): string {
  return join(folder, `${pieceName(task)}-contaminated.jsonl`);
}

export async function extractTask(
  plan: CurationPlan,
  task: InputTask,
  folder: string,
  database: DuckDBInstance,
  largeReads: LargeReads,
  processor: DocumentProcessor,
): Promise<void> {
  const source = plan.sources[task.source];
  const stats = emptyStats();
  const inputs: TaskResult['inputs'] = [];
  const observer: SourceObserver = {
    onFile: (file) => inputs.push(file),
    onBadInput: (location, reason) => {
      if (plan.onBadInput === 'fail') throw inputError(location, reason);
      recordBadInput(stats, location, reason);
    },
    onSkipped: (id, _path, reason, detail, bytes) => {
      stats.read.documents++;
      stats.read.textBytes += bytes;
      countInto(stats.sources, source.name, 1, bytes);
      processor.recordDrop(stats, 'size', reason, id, source.domain ?? 'other', detail, '', bytes);
    },
  };
  const name = pieceName(task.task);
  const writing = await database.connect();
  const reading = await database.connect();
  const contaminated =
    plan.decontamination === undefined ? undefined : new LineFile(contaminatedPath(folder, task.task));
  processor.onContaminated = (document) => contaminated?.add(canonicalJson(document));
  let documents = 0;
  let parts: StoredPart[];
  try {
    const store = new DocumentStore(writing, folder, task.task, processor.bands);
    processor.startClock();
    for await (const raw of await openSource(source, task, plan, reading, largeReads, observer)) {
      processor.endStep('read');
      const stored = processor.process(raw, source, stats);
      if (stored === undefined) continue;
      await store.add(stored);
      processor.endStep('store');
      documents++;
    }
    processor.endStep('read');
    parts = await store.finish();
    contaminated?.finish();
    processor.endStep('store');
  } finally {
    contaminated?.discard();
    reading.closeSync();
    writing.closeSync();
  }
  const result: TaskResult = { task: task.task, documents, parts, inputs, stats };
  await writeFileWhole(join(folder, `${name}.json`), canonicalJson(result));
}

/** Readers of HTML are loaded only where there may be any. */
async function openSource(
  source: SourcePlan,
  task: InputTask,
  plan: CurationPlan,
  connection: DuckDBConnection,
  largeReads: LargeReads,
  observer: SourceObserver,
): Promise<AsyncIterable<RawDocument> | Iterable<RawDocument>> {
  switch (source.type) {
    case 'folder':
      return (await import('../sources/folder.js')).readFolder(source, task.root, task.files, observer);
    case 'jsonl':
      return readJsonl(source, task.root, task.files, plan.seed, observer);
    case 'parquet':
      return readParquet(source, task.root, task.files, plan.seed, connection, largeReads, observer);
    case 'warc':
      return (await import('../sources/warc.js')).readWarc(source, task.root, task.files, plan.seed, observer);
    case 'mathProblems':
      return readMathProblems(source, task.range!);
  }
}

function* readMathProblems(
  source: Extract<SourcePlan, { type: 'mathProblems' }>,
  [first, last]: readonly [number, number],
): Generator<RawDocument> {
  const { seed, difficulty, problemsPerDocument, heldoutFraction } = source;
  for (const { id, text } of mathDocuments({ seed, difficulty, problemsPerDocument, heldoutFraction }, first, last)) {
    yield { id: `${source.name}:${id}`, path: '', text, inputBytes: text.length, repairs: [], license: 'generated' };
  }
}
