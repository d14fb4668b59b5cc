/**
 * Keys and values of all sequences, a paged cache a layer, and the attention that reads them. Memory:
 * 2 · layers · blocks · blockSize · Hkv · hd · 4 bytes, taken once.
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  createPagedCache,
  pagedAttention,
  type PagedCache as LayerCache,
  type PagedSequences,
  ropeAppend,
} from '@xgen-small/kernels';
import type { ModelConfig } from '../config/model-config.js';
import type { Attention } from '../model/decoder.js';
import type { Chunk } from './scheduler.js';
import type { Sequence } from './sequence.js';

/** Where the rows of one forward lie in the cache. */
export interface PagedRows extends PagedSequences {
  /** int32 [N]: where each row's key and value go. */
  slots: tf.Tensor;
}

export class PagedCache {
  readonly layers: LayerCache[] = [];

  constructor(
    private readonly config: ModelConfig,
    blocks: number,
    readonly blockSize: number,
  ) {
    const { queryHeads, keyValueHeads, headDimension, layers } = config;
    for (let layer = 0; layer < layers; layer++) {
      this.layers.push(createPagedCache(blocks, { queryHeads, keyValueHeads, headDimension, blockSize }));
    }
  }

  /** The rows of one forward over `chunks`. In a tidy. */
  rowsOf(chunks: readonly Chunk[]): PagedRows {
    const { blockSize } = this;
    const count = chunks.reduce((sum, chunk) => sum + chunk.count, 0);
    const widest = chunks.reduce((most, { sequence }) => Math.max(most, sequence.blocks.length), 1);
    const slots = new Int32Array(count);
    const cumulativeQueryLengths = new Int32Array(chunks.length + 1);
    const contextLengths = new Int32Array(chunks.length);
    const blockTables = new Int32Array(chunks.length * widest);
    let row = 0;
    chunks.forEach(({ sequence, count: length }, index) => {
      for (let position = sequence.computed; position < sequence.computed + length; position++) {
        slots[row++] = slotOf(sequence, position, blockSize);
      }
      cumulativeQueryLengths[index + 1] = row;
      contextLengths[index] = sequence.computed + length;
      blockTables.set(sequence.blocks, index * widest);
    });
    return {
      slots: tf.tensor1d(slots, 'int32'),
      cumulativeQueryLengths: tf.tensor1d(cumulativeQueryLengths, 'int32'),
      contextLengths: tf.tensor1d(contextLengths, 'int32'),
      blockTables: tf.tensor2d(blockTables, [chunks.length, widest], 'int32'),
    };
  }

  /** Attention for one forward: appends its rows' keys and values, then reads the context. */
  attention(rows: PagedRows): Attention {
    const scale = 1 / Math.sqrt(this.config.headDimension);
    return {
      inputs: () => [],
      rotate: (qkv, positions_N, inverseFrequencies, attentionScaling, layer) => {
        const { keyCache, valueCache, shape } = this.layers[layer];
        const options = { ...shape, attentionScaling };
        return ropeAppend(keyCache, valueCache, qkv, positions_N, inverseFrequencies, rows.slots, options);
      },
      apply: (qkv, layer) => {
        const { keyCache, valueCache, shape } = this.layers[layer];
        return pagedAttention(qkv, keyCache, valueCache, rows, { ...shape, scale });
      },
    };
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose();
  }
}

/** The cache's row of a sequence's position. */
export function slotOf({ blocks }: Sequence, position: number, blockSize: number): number {
  return blocks[Math.floor(position / blockSize)] * blockSize + (position % blockSize);
}
