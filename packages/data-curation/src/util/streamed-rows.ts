/** Rows of a streamed DuckDB result, one at a time: a chunk holds up to 2,048, whose texts together may be large. */

import type { DuckDBResult, DuckDBValue } from '@duckdb/node-api';

export async function* streamedRows(result: DuckDBResult): AsyncGenerator<DuckDBValue[]> {
  for await (const chunk of result) {
    const columns = Array.from({ length: chunk.columnCount }, (_, index) => chunk.getColumnVector(index));
    for (let row = 0; row < chunk.rowCount; row++) yield columns.map((column) => column.getItem(row));
  }
}
