/**
 * DuckDB on first use: a library of 68 MB that programs which only read a plan, generate documents or check answers need neither load nor
 * have. Required instead of imported: to find the names that a CommonJS package exports, `import` reads all of its 187 files a second time,
 * 0.4 s of a processor instead of 0.2 s, and every worker thread loads it anew.
 */
import { createRequire } from 'node:module';
import type * as DuckDB from '@duckdb/node-api';

export async function loadDuckDB(): Promise<typeof DuckDB> {
  return createRequire(import.meta.url)('@duckdb/node-api') as typeof DuckDB;
}
