/**
 * More memory than a worker's share, for one worker at a time: some Parquet files (DuckDB's own) have pages of 100 MB, which have to be
 * unpacked as a whole, and budgeting for them in every worker would leave room for half as many. Whoever waits sleeps. A worker that dies in
 * between ends the run. Cost: one atomic operation.
 */

import type { DuckDBConnection } from '@duckdb/node-api';
import type { LargeReads } from '../sources/parquet.js';

export interface LargeReadsOptions {
  /** 4 shared bytes, zero at the start; the same for all workers. */
  slot: SharedArrayBuffer;
  /** DuckDB's limits outside and inside. */
  usualMebibytes: number;
  largeMebibytes: number;
  /** A folder of the caller's own. */
  scratch: string;
}

export function sharedLargeReads({ slot, usualMebibytes, largeMebibytes, scratch }: LargeReadsOptions): LargeReads {
  const state = new Int32Array(slot);
  return {
    scratch,
    async run(connection: DuckDBConnection, read: () => Promise<void>): Promise<void> {
      while (Atomics.compareExchange(state, 0, 0, 1) !== 0) Atomics.wait(state, 0, 1);
      try {
        await connection.run(`SET memory_limit = '${largeMebibytes}MiB'`);
        try {
          await read();
        } finally {
          await connection.run(`SET memory_limit = '${usualMebibytes}MiB'`);
        }
      } finally {
        Atomics.store(state, 0, 0);
        Atomics.notify(state, 0, 1);
      }
    },
  };
}
