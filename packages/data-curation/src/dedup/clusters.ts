/**
 * Duplicate clusters over all documents: connected components of "same text" and "same key in some band". Every document of a
 * bucket is joined to the bucket's smallest, which gives the same components as joining all pairs. All of it happens in DuckDB,
 * which groups one band at a time and spills to disk: this thread holds nothing that grows with the corpus.
 */

import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlFiles } from '../util/sql.js';
import { connectComponents } from './components.js';

export interface ClusterOptions {
  exact: boolean;
  bands: number;
  /** Part files with the columns task, position, band_0, ... */
  parts: readonly string[];
  onBand: (done: number, total: number) => void;
}

/**
 * Reads the tables `documents` and `offsets`; leaves a table `members(document, root)` with every document that has a duplicate,
 * where the root is the cluster's first. Returns the exact duplicates found.
 */
export async function buildClusters(
  connection: DuckDBConnection,
  options: ClusterOptions,
): Promise<{ exactDuplicates: number }> {
  const total = (options.exact ? 1 : 0) + options.bands;
  let done = 0;
  await connection.run('CREATE OR REPLACE TABLE joined (a INTEGER, b INTEGER)');
  if (options.exact) {
    await joinBuckets(connection, 'SELECT document, exact_high, exact_low FROM documents', 'exact_high, exact_low');
    options.onBand(++done, total);
  }
  const exactDuplicates = await countRows(connection, 'joined');
  for (let band = 0; band < options.bands && options.parts.length > 0; band++) {
    const rows = `
      SELECT (offsets.first + part.position)::INTEGER AS document, part.band_${band} AS key
      FROM read_parquet(${sqlFiles(options.parts)}) AS part JOIN offsets USING (task)
      WHERE part.band_${band} IS NOT NULL`;
    await joinBuckets(connection, rows, 'key');
    options.onBand(++done, total);
  }
  await connection.run(`
    CREATE OR REPLACE TABLE edges AS SELECT DISTINCT a, b FROM joined;
    DROP TABLE joined;`);
  await connectComponents(connection);
  await connection.run(`
    CREATE OR REPLACE TABLE members AS
      SELECT a AS document, b AS root FROM edges UNION ALL SELECT DISTINCT b, b FROM edges;
    DROP TABLE edges;`);
  return { exactDuplicates };
}

/** Adds an edge from every document to the smallest of its bucket. */
async function joinBuckets(connection: DuckDBConnection, rows: string, keys: string): Promise<void> {
  await connection.run(`
    CREATE OR REPLACE TEMP TABLE entries AS ${rows};
    INSERT INTO joined
      SELECT entries.document, buckets.smallest
      FROM entries
      JOIN (SELECT ${keys}, min(document) AS smallest FROM entries GROUP BY ${keys} HAVING count(*) > 1) AS buckets
        USING (${keys})
      WHERE entries.document <> buckets.smallest;
    DROP TABLE entries;`);
}

async function countRows(connection: DuckDBConnection, table: string): Promise<number> {
  const reader = await connection.runAndReadAll(`SELECT count(*)::DOUBLE FROM ${table}`);
  return Number(reader.getRows()[0][0]);
}
