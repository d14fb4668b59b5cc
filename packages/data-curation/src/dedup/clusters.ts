/**
 * Duplicate clusters over all documents: connected components of "same text" and "same key in some band". Every document of a
 * bucket is joined to the bucket's smallest, which gives the same components as joining all pairs. DuckDB groups one band at a
 * time and spills to disk; this thread keeps 4 bytes a document.
 */

import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlList } from '../util/sql.js';
import { UnionFind } from './union-find.js';

export interface ClusterOptions {
  /** Number of documents; the table `documents` numbers them from 0. */
  documents: number;
  exact: boolean;
  bands: number;
  /** Part files with the columns task, position, band_0, ... */
  parts: readonly string[];
  onBand: (done: number, total: number) => void;
}

/** Leaves a table `members(document, root)` with every document that has a duplicate; returns the exact duplicates found. */
export async function buildClusters(
  connection: DuckDBConnection,
  options: ClusterOptions,
): Promise<{ exactDuplicates: number }> {
  const components = new UnionFind(options.documents);
  const total = (options.exact ? 1 : 0) + options.bands;
  let done = 0;
  let exactDuplicates = 0;
  if (options.exact) {
    exactDuplicates = await joinBuckets(
      connection,
      components,
      'SELECT document, exact_high, exact_low FROM documents',
      ['exact_high', 'exact_low'],
    );
    options.onBand(++done, total);
  }
  for (let band = 0; band < options.bands && options.parts.length > 0; band++) {
    const rows = `
      SELECT offsets.first + part.position AS document, part.band_${band} AS key
      FROM read_parquet(${sqlList(options.parts)}) AS part JOIN offsets USING (task)
      WHERE part.band_${band} IS NOT NULL`;
    await joinBuckets(connection, components, rows, ['key']);
    options.onBand(++done, total);
  }
  await connection.run('CREATE OR REPLACE TABLE members (document INTEGER, root INTEGER)');
  const appender = await connection.createAppender('members');
  const add = (document: number, root: number) => {
    appender.appendInteger(document);
    appender.appendInteger(root);
    appender.endRow();
  };
  const isShared = new Uint8Array(Math.ceil(options.documents / 8));
  for (let document = 0; document < components.size; document++) {
    const root = components.find(document);
    if (root === document) continue;
    if ((isShared[root >> 3] & (1 << (root & 7))) === 0) {
      isShared[root >> 3] |= 1 << (root & 7);
      add(root, root);
    }
    add(document, root);
  }
  appender.closeSync();
  return { exactDuplicates };
}

/** Joins every document to the smallest of its bucket; returns how many were not the smallest. */
async function joinBuckets(
  connection: DuckDBConnection,
  components: UnionFind,
  rows: string,
  keys: readonly string[],
): Promise<number> {
  const list = keys.join(', ');
  const result = await connection.stream(`
    WITH entries AS MATERIALIZED (${rows}),
    buckets AS (SELECT ${list}, min(document) AS smallest FROM entries GROUP BY ${list} HAVING count(*) > 1)
    SELECT entries.document, buckets.smallest FROM entries JOIN buckets USING (${list})
    WHERE entries.document <> buckets.smallest`);
  let joined = 0;
  for await (const chunk of result) {
    const documents = chunk.getColumnValues(0) as number[];
    const smallest = chunk.getColumnValues(1) as number[];
    for (let index = 0; index < documents.length; index++) components.union(documents[index], smallest[index]);
    joined += documents.length;
  }
  return joined;
}
