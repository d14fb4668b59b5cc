/**
 * DuckDB on first use: a library of 68 MB that programs which only read a plan, generate documents or check answers need neither load nor
 * have.
 */
import type * as DuckDB from '@duckdb/node-api';

export function loadDuckDB(): Promise<typeof DuckDB> {
  return import('@duckdb/node-api');
}
