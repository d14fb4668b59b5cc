/** Messages between the main thread and a curation worker. */

import type { CurationErrorCode } from '../errors.js';
import type { CurationPlan } from '../plan/schema.js';
import type { InputTask } from '../sources/inventory.js';
import type { ShardJob } from './shard-task.js';
import type { TrimJob } from './trim-tasks.js';

export interface WorkerData {
  plan: CurationPlan;
  tasksFolder: string;
  temporaryFolder: string;
  /** DuckDB's limit. */
  databaseMebibytes: number;
  /** DuckDB's limit while a worker holds the slot of large reads. */
  largeReadMebibytes: number;
  largeReadSlot: SharedArrayBuffer;
}

export type WorkerJob =
  | { kind: 'extract'; task: InputTask }
  | { kind: 'trim'; trim: TrimJob }
  | { kind: 'shard'; shard: ShardJob }
  /** Answered by the end of the thread. */
  | { kind: 'stop' };

export type WorkerReply =
  | { ok: true; timings: Record<string, number> }
  | { ok: false; code: CurationErrorCode; message: string; value?: string; remedy?: string };
