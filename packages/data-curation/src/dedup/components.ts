/**
 * Connected components of a graph that lies in a DuckDB table, by alternating large-star and small-star steps (Kiveris et al. 2014,
 * "Connected Components in MapReduce and Beyond"): each step hangs the neighbours of every node on the smallest node around, until nothing
 * changes. The root of a component is its smallest node, so the result depends on the set of edges and not on their order.
 * Cost: two groupings and two joins over the edges a round, O(log² n) rounds (3 to 6 in practice). Memory: DuckDB's limit.
 */

import type { DuckDBConnection } from '@duckdb/node-api';

/**
 * Replaces the table `edges(a INTEGER, b INTEGER)`, whose rows are distinct and have a > b, by one where every b is the root of
 * its component and every other member stands once as a.
 */
export async function connectComponents(connection: DuckDBConnection): Promise<void> {
  for (let before = await fingerprint(connection); ;) {
    await largeStar(connection);
    await smallStar(connection);
    const after = await fingerprint(connection);
    if (after === before) return;
    before = after;
  }
}

/** Every node hangs its larger neighbours on the smallest of itself and all its neighbours. */
async function largeStar(connection: DuckDBConnection): Promise<void> {
  await connection.run(`
    CREATE OR REPLACE TABLE next_edges AS
      SELECT DISTINCT edges.a, least(smallest.b, edges.b) AS b
      FROM edges
      JOIN (
        SELECT node, min(neighbour) AS b
        FROM (SELECT a AS node, b AS neighbour FROM edges UNION ALL SELECT b, a FROM edges)
        GROUP BY node
      ) AS smallest ON smallest.node = edges.b;
    DROP TABLE edges;
    ALTER TABLE next_edges RENAME TO edges;`);
}

/** Every node hangs itself and its smaller neighbours on the smallest of these. */
async function smallStar(connection: DuckDBConnection): Promise<void> {
  await connection.run(`
    CREATE OR REPLACE TABLE next_edges AS
      WITH smallest AS MATERIALIZED (SELECT a, min(b) AS b FROM edges GROUP BY a)
      SELECT DISTINCT a, b FROM (
        SELECT a, b FROM smallest
        UNION ALL
        SELECT edges.b AS a, smallest.b FROM edges JOIN smallest USING (a) WHERE edges.b <> smallest.b
      );
    DROP TABLE edges;
    ALTER TABLE next_edges RENAME TO edges;`);
}

/** The same for the same set of edges, whatever their order. */
async function fingerprint(connection: DuckDBConnection): Promise<string> {
  const reader = await connection.runAndReadAll(
    'SELECT count(*)::VARCHAR, coalesce(bit_xor(hash(a, b)), 0)::VARCHAR, coalesce(sum(b), 0)::VARCHAR FROM edges',
  );
  return reader.getRows()[0].map(String).join(' ');
}
