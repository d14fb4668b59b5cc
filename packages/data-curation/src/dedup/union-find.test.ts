import { describe, expect, it } from 'vitest';
import { seededRandom } from '../util/permutation.js';
import { UnionFind } from './union-find.js';

describe('UnionFind', () => {
  it('finds the components of a random graph, whatever the order of its edges', () => {
    const random = seededRandom(2);
    const size = 500;
    const edges = Array.from(
      { length: 300 },
      () => [Math.floor(random() * size), Math.floor(random() * size)] as const,
    );
    // Independent: spread the smallest label along the edges until nothing changes.
    const labels = Array.from({ length: size }, (_, index) => index);
    for (let changed = true; changed;) {
      changed = false;
      for (const [a, b] of edges) {
        const smallest = Math.min(labels[a], labels[b]);
        if (labels[a] !== smallest || labels[b] !== smallest) changed = true;
        labels[a] = labels[b] = smallest;
      }
    }
    for (const order of [edges, [...edges].reverse(), [...edges].sort((x, y) => x[1] - y[1])]) {
      const components = new UnionFind(size);
      for (const [a, b] of order) components.union(a, b);
      expect(labels.map((_, index) => components.find(index))).toEqual(labels);
    }
  });
});
