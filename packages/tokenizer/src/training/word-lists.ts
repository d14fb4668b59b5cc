/** Many short lists of word indices in one pool of linked nodes; a list is the index of its first node, −1 when empty. */

export class WordLists {
  private words = new Int32Array(1 << 14);
  private next = new Int32Array(1 << 14);
  private used = 0;
  private free = -1;

  /** The list with `word` before its other words. */
  prepend(list: number, word: number): number {
    let node = this.free;
    if (node >= 0) this.free = this.next[node];
    else {
      node = this.used++;
      if (node === this.words.length) this.grow();
    }
    this.words[node] = word;
    this.next[node] = list;
    return node;
  }

  wordAt(node: number): number {
    return this.words[node];
  }

  nextOf(node: number): number {
    return this.next[node];
  }

  /** Gives a node back once its word and successor have been read. */
  release(node: number): void {
    this.next[node] = this.free;
    this.free = node;
  }

  private grow(): void {
    const size = this.words.length * 2;
    const words = new Int32Array(size);
    words.set(this.words);
    const next = new Int32Array(size);
    next.set(this.next);
    Object.assign(this, { words, next });
  }
}
