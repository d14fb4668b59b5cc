/**
 * Where documents that passed the filters wait for the rest of the corpus: Parquet parts of one task, written through an in-memory
 * DuckDB of the worker thread. Columns: see `partColumns`; the bands of the MinHash follow as `band_0`, `band_1`, ...
 * Memory: one part (8 MiB of text), several times while it is encoded.
 */

import { join } from 'node:path';
import type { DuckDBAppender, DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { produceFile, sha256OfFile } from '../util/files.js';
import { sqlString } from '../util/sql.js';
import { pieceName } from './work-folder.js';
import { loadDuckDB } from '../util/load-duckdb.js';

export interface StoredDocument {
  id: string;
  text: string;
  textBytes: number;
  source: string;
  domain: string;
  language: string;
  quality: number;
  /** First 128 bits of the text's SHA-256. */
  exactHigh: bigint;
  exactLow: bigint;
  /** Uniform 32-bit hash of the id: held-out choice and samples. */
  rank: number;
  /** A document that a filter dropped, kept without its text to fit a weight curve. */
  dropped: boolean;
  bands: BigUint64Array | undefined;
}

export interface StoredPart {
  /** File name inside the task folder. */
  file: string;
  documents: number;
  sha256: string;
}

const partBytes = 8 * 1024 * 1024;
const partColumns =
  'task INTEGER, position INTEGER, id VARCHAR, text VARCHAR, text_bytes INTEGER, source VARCHAR, domain VARCHAR, language VARCHAR, ' +
  'quality DOUBLE, exact_high UBIGINT, exact_low UBIGINT, rank UINTEGER, dropped BOOLEAN';

/** One thread and a fixed memory limit: rows keep their order, and workers do not crowd each other out. */
export async function openWorkerDatabase(temporaryFolder: string, mebibytes: number): Promise<DuckDBInstance> {
  const { DuckDBInstance } = await loadDuckDB();
  return DuckDBInstance.create(':memory:', {
    threads: '1',
    memory_limit: `${mebibytes}MiB`,
    temp_directory: temporaryFolder,
  });
}

export class DocumentStore {
  readonly #connection: DuckDBConnection;
  readonly #folder: string;
  readonly #task: number;
  readonly #bands: number;
  readonly #parts: StoredPart[] = [];
  #appender: DuckDBAppender | undefined;
  #position = 0;
  #rows = 0;
  #bytes = 0;

  constructor(connection: DuckDBConnection, folder: string, task: number, bands: number) {
    this.#connection = connection;
    this.#folder = folder;
    this.#task = task;
    this.#bands = bands;
  }

  async add(document: StoredDocument): Promise<void> {
    const appender = (this.#appender ??= await this.#open());
    appender.appendInteger(this.#task);
    appender.appendInteger(this.#position++);
    appender.appendVarchar(document.id);
    appender.appendVarchar(document.text);
    appender.appendInteger(document.textBytes);
    appender.appendVarchar(document.source);
    appender.appendVarchar(document.domain);
    appender.appendVarchar(document.language);
    appender.appendDouble(document.quality);
    appender.appendUBigInt(document.exactHigh);
    appender.appendUBigInt(document.exactLow);
    appender.appendUInteger(document.rank);
    appender.appendBoolean(document.dropped);
    for (let band = 0; band < this.#bands; band++) {
      if (document.bands === undefined) appender.appendNull();
      else appender.appendUBigInt(document.bands[band]);
    }
    appender.endRow();
    this.#rows++;
    this.#bytes += document.textBytes;
    if (this.#bytes >= partBytes) await this.#close();
  }

  /** Writes what is left; the parts in order. */
  async finish(): Promise<StoredPart[]> {
    await this.#close();
    return this.#parts;
  }

  async #open(): Promise<DuckDBAppender> {
    const bands = Array.from({ length: this.#bands }, (_, band) => `, band_${band} UBIGINT`).join('');
    await this.#connection.run(`CREATE OR REPLACE TABLE part (${partColumns}${bands})`);
    return this.#connection.createAppender('part');
  }

  async #close(): Promise<void> {
    if (this.#appender === undefined) return;
    this.#appender.closeSync();
    this.#appender = undefined;
    const file = `${pieceName(this.#task)}-${String(this.#parts.length).padStart(3, '0')}.parquet`;
    const path = join(this.#folder, file);
    await produceFile(path, async (temporary) => {
      await this.#connection.run(
        `COPY part TO ${sqlString(temporary)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 4096)`,
      );
    });
    await this.#connection.run('DROP TABLE part');
    this.#parts.push({ file, documents: this.#rows, sha256: await sha256OfFile(path) });
    this.#rows = 0;
    this.#bytes = 0;
  }
}
