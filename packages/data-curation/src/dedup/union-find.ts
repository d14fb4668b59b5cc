/**
 * Connected components over documents 0 to n-1. The root of a component is always its smallest member, so the result depends on
 * the set of edges and not on their order. Memory: 4 bytes a document.
 */

export class UnionFind {
  readonly #parents: Int32Array;

  constructor(size: number) {
    this.#parents = new Int32Array(size);
    for (let index = 0; index < size; index++) this.#parents[index] = index;
  }

  find(member: number): number {
    const parents = this.#parents;
    let at = member;
    while (parents[at] !== at) {
      parents[at] = parents[parents[at]]!;
      at = parents[at]!;
    }
    return at;
  }

  union(a: number, b: number): void {
    const first = this.find(a);
    const second = this.find(b);
    if (first < second) this.#parents[second] = first;
    else if (second < first) this.#parents[first] = second;
  }

  get size(): number {
    return this.#parents.length;
  }
}
