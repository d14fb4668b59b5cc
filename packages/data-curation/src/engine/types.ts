/** What `curate` takes and gives back. */

import type { CurationReport } from '../report/types.js';

/** One step of a long task; `completed` and `total` count `unit`s. */
export interface ProgressEvent {
  task: string;
  completed: number;
  total?: number;
  unit: string;
  detail?: string;
}

export interface CurateOptions {
  /** Where everything is written; created if absent. A folder holding another plan's output is refused. */
  outputFolder: string;
  /**
   * Worker threads for per-document work, at most: fewer where `memoryLimit` does not hold them. Default: the number of processors,
   * at most 8. Never changes the output.
   */
  workers?: number;
  /** Bytes of memory that the process may take, everything included; default 2 GiB. What does not fit waits on disk. Never changes the output. */
  memoryLimit?: number;
  /** Aborting stops after the pieces in flight; a rerun with the same plan continues. */
  signal?: AbortSignal;
  /** Headers for downloads, such as a token: they are no part of the plan, which is written to disk. */
  downloadHeaders?: (url: string) => Record<string, string>;
  onProgress?: (event: ProgressEvent) => void;
}

/** A Parquet file of the output. Columns: see `DocumentRow`. */
export interface OutputShard {
  /** Absolute path. */
  path: string;
  documents: number;
  /** UTF-8 bytes of the text column. */
  textBytes: number;
  sha256: string;
}

export interface CurateResult {
  outputFolder: string;
  /** Training shards, in document order. */
  shards: OutputShard[];
  /** Held-out shards: never in `shards`, no duplicate of a training document. */
  heldout: OutputShard[];
  /** Name of a training stage → Parquet file with the columns `shard, row, repeats`. */
  mixtures: Record<string, string>;
  manifestPath: string;
  reportPath: string;
  reportHtmlPath: string;
  report: CurationReport;
  /** Wall-clock seconds by step of this call (resumed steps cost none); not part of the files, which are reproducible. */
  timings: Record<string, number>;
  /** Processor seconds of all threads of this process by the same steps: what was worked, whatever else the machine did. */
  processorTimings: Record<string, number>;
  /**
   * Thread-seconds of per-document work by step, over all workers: `read` (with decompression, repair and HTML to text), the filters by
   * their names, what is computed for those that pass, `store`.
   */
  documentTimings: Record<string, number>;
}

/** One row of a shard; the Parquet columns have these names and this order. */
export interface DocumentRow {
  /** Unique and stable: `<source>:<file>` or `<source>:<file>#<line>`. */
  id: string;
  text: string;
  /** Name of the source in the plan. */
  source: string;
  domain: string;
  /** ISO 639-1 for prose, the lower-case name of the programming language for code, `und` when unknown. */
  language: string;
  /** In [0, 1]. */
  quality: number;
  /** Documents in the duplicate cluster that this one represents; 1 for a unique document. */
  duplicates: number;
  /** How often the mixture wants the document in one pass over the token budget; 0 < weight <= maximumRepeats. */
  weight: number;
}
