/** Entry of a worker thread: does one job after another and answers each. Holds one in-memory DuckDB. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parentPort, threadId, workerData } from 'node:worker_threads';
import { CurationError } from '../errors.js';
import { openWorkerDatabase } from './document-store.js';
import { sharedLargeReads } from './large-reads.js';
import type { DocumentProcessor } from './process-document.js';
import { writeShard } from './shard-task.js';
import { runTrimJob } from './trim-tasks.js';
import type { WorkerData, WorkerJob, WorkerReply } from './worker-protocol.js';

const { plan, tasksFolder, temporaryFolder, databaseMebibytes, largeReadMebibytes, largeReadSlot } =
  workerData as WorkerData;
const port = parentPort;
if (port === null) throw new CurationError('WORKER_FAILED', 'curation-worker runs only as a worker thread.');

// A folder of its own: databases that share one name their spill files alike.
const spill = join(temporaryFolder, String(threadId));
await mkdir(spill, { recursive: true });
const database = await openWorkerDatabase(spill, databaseMebibytes);
const largeReads = sharedLargeReads({
  slot: largeReadSlot,
  usualMebibytes: databaseMebibytes,
  largeMebibytes: largeReadMebibytes,
  scratch: spill,
});
let processor: Promise<DocumentProcessor> | undefined;

port.on('message', (job: WorkerJob) => {
  if (job.kind === 'stop') {
    database.closeSync();
    process.exit();
  }
  run(job).then(
    (timings) => port.postMessage({ ok: true, timings } satisfies WorkerReply),
    (error: unknown) => port.postMessage(describe(error)),
  );
});

/** Returns the milliseconds spent by step. */
async function run(job: Exclude<WorkerJob, { kind: 'stop' }>): Promise<Record<string, number>> {
  if (job.kind === 'shard') {
    await writeShard(job.shard, database, spill);
    return {};
  }
  if (job.kind === 'trim') {
    await runTrimJob(job.trim, plan.deduplication, database);
    return {};
  }
  // Loaded on first use: trimming and writing shards need neither parsers nor a classifier, and threads come and go between the steps.
  const { extractTask } = await import('./extract-task.js');
  processor ??= import('./process-document.js').then((module) => module.DocumentProcessor.create(plan));
  const loaded = await processor;
  await extractTask(plan, job.task, tasksFolder, database, largeReads, loaded);
  return loaded.takeTimings();
}

function describe(error: unknown): WorkerReply {
  if (CurationError.isInstance(error)) {
    const { code, value, remedy } = error;
    // The message of an error ends in its remedy, which travels apart.
    const message = remedy === undefined ? error.message : error.message.slice(0, -remedy.length - 1);
    return { ok: false, code, message, value: typeof value === 'string' ? value : undefined, remedy };
  }
  // Node's and DuckDB's words for it.
  if (error instanceof Error && /no space left on device/i.test(error.message)) {
    return {
      ok: false,
      code: 'WORKER_FAILED',
      message: error.message,
      remedy: 'Free some space, then run it again to continue.',
    };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { ok: false, code: 'WORKER_FAILED', message: text };
}
