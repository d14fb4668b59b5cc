/**
 * Blocks of the paged KV cache: counted references, and blocks kept for reuse by their content.
 *
 * A full block whose content was registered stays findable after its last user has gone, until its space is needed
 * (least recently released first). Content is matched exactly, not by hash: a block's key is its tokens and the
 * identity of the block before it. Constant time an operation, apart from joining a block's tokens to a key.
 */

interface CachedContent {
  key: string;
  /** Never reused, so that children of an evicted block can no longer be reached. */
  identity: number;
}

/** The identity before the first block. */
export const rootIdentity = 0;

export interface CachedBlock {
  block: number;
  identity: number;
}

export class BlockAllocator {
  private readonly references: Int32Array;
  private readonly unused: number[];
  private readonly contents = new Map<number, CachedContent>();
  private readonly byKey = new Map<string, CachedBlock>();
  /** Registered blocks without users, in order of release. */
  private readonly evictable = new Set<number>();
  private identities = rootIdentity;

  constructor(readonly totalBlocks: number) {
    this.references = new Int32Array(totalBlocks);
    this.unused = Array.from({ length: totalBlocks }, (_, i) => totalBlocks - 1 - i);
  }

  /** Blocks that allocate() can hand out now, those kept for reuse included. */
  get freeBlocks(): number {
    return this.unused.length + this.evictable.size;
  }

  /** A block with one reference; undefined where none is free. */
  allocate(): number | undefined {
    let block = this.unused.pop();
    if (block === undefined) {
      const oldest = this.evictable.values().next();
      if (oldest.done === true) return undefined;
      block = oldest.value;
      this.forget(block);
    }
    this.references[block] = 1;
    return block;
  }

  /** Blocks without users count as free: whether this one does (and so would not after `retain`). */
  isFree(block: number): boolean {
    return this.references[block] === 0;
  }

  retain(block: number): void {
    this.evictable.delete(block);
    this.references[block]++;
  }

  release(block: number): void {
    if (--this.references[block] > 0) return;
    if (this.contents.has(block)) this.evictable.add(block);
    else this.unused.push(block);
  }

  /** The block that holds these tokens after the block `parent`, if there is one. */
  find(parent: number, tokens: readonly number[]): CachedBlock | undefined {
    return this.byKey.get(contentKey(parent, tokens));
  }

  /** Makes a full block findable; returns its identity, or that of an equal block registered before. */
  register(block: number, parent: number, tokens: readonly number[]): number {
    const key = contentKey(parent, tokens);
    const existing = this.byKey.get(key);
    if (existing !== undefined) return existing.identity;
    const identity = ++this.identities;
    this.byKey.set(key, { block, identity });
    this.contents.set(block, { key, identity });
    return identity;
  }

  /** Forgets all content: after the weights have changed. Blocks in use stay with their users. */
  clearContents(): void {
    for (const block of [...this.contents.keys()]) {
      const wasEvictable = this.evictable.has(block);
      this.forget(block);
      if (wasEvictable) this.unused.push(block);
    }
  }

  private forget(block: number): void {
    this.byKey.delete(this.contents.get(block)!.key);
    this.contents.delete(block);
    this.evictable.delete(block);
  }
}

function contentKey(parent: number, tokens: readonly number[]): string {
  return `${parent}:${tokens.join(',')}`;
}
