import { DuckDBInstance } from '@duckdb/node-api';
import { expect, it } from 'vitest';
import { seededRandom } from '../util/permutation.js';
import { connectComponents } from './components.js';

/** Breadth-first search: another way to the same components. Node → smallest node of its component, for nodes that are not it. */
function searched(edges: readonly (readonly [number, number])[]): Map<number, number> {
  const neighbours = new Map<number, number[]>();
  for (const [a, b] of edges) {
    neighbours.set(a, [...(neighbours.get(a) ?? []), b]);
    neighbours.set(b, [...(neighbours.get(b) ?? []), a]);
  }
  const roots = new Map<number, number>();
  const seen = new Set<number>();
  for (const start of [...neighbours.keys()].sort((x, y) => x - y)) {
    if (seen.has(start)) continue;
    const queue = [start];
    seen.add(start);
    for (const node of queue) {
      if (node !== start) roots.set(node, start);
      for (const next of neighbours.get(node)!) {
        if (seen.has(next)) continue;
        seen.add(next);
        queue.push(next);
      }
    }
  }
  return roots;
}

async function connected(edges: readonly (readonly [number, number])[]): Promise<Map<number, number>> {
  const connection = await (await DuckDBInstance.create(':memory:', { threads: '2' })).connect();
  const rows =
    edges.length === 0 ? 'SELECT 1, 0 WHERE false' : `VALUES ${edges.map(([a, b]) => `(${a}, ${b})`).join(', ')}`;
  await connection.run('CREATE TABLE edges (a INTEGER, b INTEGER)');
  await connection.run(`INSERT INTO edges SELECT DISTINCT * FROM (${rows})`);
  await connectComponents(connection);
  const reader = await connection.runAndReadAll('SELECT a, b FROM edges');
  const found = new Map(reader.getRows().map(([a, b]) => [Number(a), Number(b)]));
  expect(found.size).toBe(reader.currentRowCount);
  connection.closeSync();
  return found;
}

it('finds the components that a search finds, in graphs of every density', async () => {
  const random = seededRandom(7);
  for (const [nodes, count] of [
    [10, 0],
    [300, 40],
    [300, 150],
    [300, 290],
    [300, 3000],
  ]) {
    const edges: [number, number][] = [];
    while (edges.length < count) {
      const [a, b] = [Math.floor(random() * nodes), Math.floor(random() * nodes)];
      if (a !== b) edges.push([Math.max(a, b), Math.min(a, b)]);
    }
    expect(await connected(edges)).toEqual(searched(edges));
  }
});

it('shortens long chains, in whatever order they are numbered', async () => {
  const length = 500;
  const shuffled = Array.from({ length }, (_, index) => (index * 211) % length);
  for (const order of [shuffled, [...shuffled].sort((a, b) => a - b)]) {
    const edges = order
      .slice(1)
      .map((node, index): [number, number] => [Math.max(node, order[index]), Math.min(node, order[index])]);
    const found = await connected(edges);
    expect(found.size).toBe(length - 1);
    expect(new Set(found.values())).toEqual(new Set([0]));
  }
});
