/**
 * How a run's memory is divided. Two phases never meet: worker threads read, filter, trim and write, each with a heap and a database of
 * its own, both limited; between them the main thread groups all documents in one database, while no worker lives. What a worker
 * needs depends on the largest document that the plan lets in, so the budget decides how many workers there may be, and
 * never what comes out.
 */

import { CurationError } from '../errors.js';
import type { CurationPlan } from '../plan/schema.js';

export const defaultMemoryLimit = 2 * 1024 ** 3;

export interface MemoryBudget {
  /** Worker threads for per-document work; at most as many as were asked for. */
  workers: number;
  /** V8's heap in a worker: it fails with a clear error rather than grow further. */
  workerHeapMebibytes: number;
  /** DuckDB's limit in a worker; beyond it, it spills to disk. The same for any number of workers. */
  workerDatabaseMebibytes: number;
  /** DuckDB's limit in the one worker at a time that unpacks large pages of a Parquet file. */
  largeReadMebibytes: number;
  /** DuckDB's limit while the main thread groups. */
  mainDatabaseMebibytes: number;
}

const mebibyte = 1024 ** 2;
/** Node, the code, DuckDB's library, and the main thread's lists (about 1 KB for each task of 4 MiB). */
const processMebibytes = 320;
/** Tables of the language identifier, filters and hashes, and garbage that V8 has not collected yet. */
const heapBaseMebibytes = 128;
/** Copies of a document in a heap until the `length` filter has seen it: as bytes, parsed, repaired. */
const copiesWhenRead = 8;
/** What a character costs after that, in a document of nothing but short lines and words: lists and tables of them. */
const bytesPerCharacter = 48;
/** Outside of heap and database: read-ahead, decompression, tables of n-grams, freed memory that the allocator keeps. */
const workerOutsideMebibytes = 48;
const workerDatabaseMebibytes = 128;
/** Two unpacked pages of 100 MB, DuckDB's largest, one packed, and rows. */
const largeReadMebibytes = 448;
const smallestMainDatabase = 192;

/** @throws CurationError `OPTION_INVALID` when the limit is too small for the largest document of the plan. */
export function planMemory(plan: CurationPlan, workers: number, memoryLimit = defaultMemoryLimit): MemoryBudget {
  if (!Number.isSafeInteger(memoryLimit) || memoryLimit < 1) {
    throw new CurationError('OPTION_INVALID', `memoryLimit is ${memoryLimit}.`, {
      value: memoryLimit,
      remedy: 'Give a number of bytes.',
    });
  }
  const largeReads = plan.sources.some(({ type }) => type === 'parquet')
    ? largeReadMebibytes - workerDatabaseMebibytes
    : 0;
  const whole = Math.floor(memoryLimit / mebibyte) - processMebibytes;
  const available = whole - largeReads;
  const largest = largestDocument(plan);
  const filtered = Math.min(largest, largestAfterLength(plan));
  const workerHeapMebibytes =
    heapBaseMebibytes + Math.ceil((copiesWhenRead * largest + bytesPerCharacter * filtered) / mebibyte);
  const perWorker = workerHeapMebibytes + workerDatabaseMebibytes + workerOutsideMebibytes;
  const needed = Math.max(perWorker, smallestMainDatabase);
  if (available < needed) {
    throw new CurationError('OPTION_INVALID', `memoryLimit is ${memoryLimit} bytes.`, {
      value: memoryLimit,
      remedy: `This plan needs at least ${(processMebibytes + largeReads + needed) * mebibyte}: raise it, or let in smaller documents (maximumLineBytes, maximumDocumentBytes, maximumRecordBytes, maximumFileBytes of the sources; maximumCharacters of the length filter).`,
    });
  }
  return {
    workers: Math.max(1, Math.min(workers, Math.floor(available / perWorker))),
    workerHeapMebibytes,
    workerDatabaseMebibytes,
    largeReadMebibytes,
    mainDatabaseMebibytes: Math.floor(whole * 0.6),
  };
}

/** Bytes of the largest piece that the plan's sources hold in memory. */
function largestDocument(plan: CurationPlan): number {
  return Math.max(
    ...plan.sources.map((source) => {
      switch (source.type) {
        case 'folder':
          return source.maximumFileBytes;
        case 'jsonl':
          return source.maximumLineBytes;
        case 'parquet':
          return source.maximumDocumentBytes;
        case 'warc':
          return source.maximumRecordBytes;
        case 'mathProblems':
          return 0;
      }
    }),
  );
}

/** Characters that the `length` filter lets through, if one stands before the filters that cost memory and holds for all documents. */
function largestAfterLength({ filters }: CurationPlan): number {
  const [first] = filters;
  return first?.filter === 'length' && first.domains === undefined ? first.maximumCharacters : Infinity;
}
