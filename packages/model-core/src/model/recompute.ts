/**
 * What of a block is computed again in the backward pass instead of held since the forward pass: memory against work. The gradients are the same
 * to the bit whatever is chosen, where the kernels are deterministic.
 *
 * | mode              | a block holds, besides a few numbers a token                               | computes again                                           |
 * | ----------------- | -------------------------------------------------------------------------- | -------------------------------------------------------- |
 * | `none`            | all that gradients read: 4·D + H + Hq·hd + 3·F elements a token              | nothing                                                  |
 * | `elementwise`     | residual sums, qkv, attention, gate and up: 2·D + H + Hq·hd + 2·F            | both norms, SwiGLU: no product                           |
 * | `feedForward`     | residual sums, qkv, attention: 2·D + H + Hq·hd                               | also the gate-up product                                 |
 * | `allButAttention` | the block's input and attention: D + Hq·hd                                   | also the qkv product, RoPE and the output projection     |
 * | `block`           | the block's input: D                                                         | also attention: everything but the down projection       |
 *
 * D width, F feed-forward width, H = (Hq + 2·Hkv)·hd. These are the fused operations' numbers; where a backend composes them of others, what
 * happens inside them is computed again in every mode but `none`.
 */
import { kept } from '@xgen-small/kernels';
import type * as tf from '@tensorflow/tfjs-core';
import { ModelError } from '../errors.js';

/** From holding everything to holding the least. */
export const recomputeModes = ['none', 'elementwise', 'feedForward', 'allButAttention', 'block'] as const;

export type RecomputeMode = (typeof recomputeModes)[number];

/**
 * One mode for all blocks, or how many blocks have which, adding up to the layers: `{ feedForward: 20, elementwise: 16 }` fills memory that one mode
 * would leave. The first blocks hold the least, since the backward pass begins at the last, when all the others still hold theirs.
 */
export type Recompute = RecomputeMode | Partial<Record<RecomputeMode, number>>;

/** The tensors of a block that a mode may hold. */
export type BlockTensor = 'qkv' | 'attended' | 'middle' | 'gateUp';

const held: Record<RecomputeMode, readonly BlockTensor[]> = {
  none: [],
  elementwise: ['qkv', 'attended', 'middle', 'gateUp'],
  feedForward: ['qkv', 'attended', 'middle'],
  allButAttention: ['attended'],
  block: [],
};

/** Whether `mode` holds a tensor of a block, besides its input. */
export function keeps(mode: RecomputeMode, name: BlockTensor): boolean {
  return held[mode].includes(name);
}

/** Marks a tensor of a block under `mode`, where the mode holds it. */
export function keepFor<T extends tf.Tensor>(mode: RecomputeMode, name: BlockTensor, tensor: T): T {
  return keeps(mode, name) ? kept(tensor) : tensor;
}

/** The mode of each block. Throws ModelError INVALID_ARGUMENT where the counts don't add up to `layers`. */
export function recomputeModeOfBlocks(recompute: Recompute, layers: number): RecomputeMode[] {
  if (typeof recompute === 'string') return new Array<RecomputeMode>(layers).fill(recompute);
  const counts = [...recomputeModes].reverse().map((mode) => [mode, recompute[mode] ?? 0] as const);
  const valid = counts.every(([, count]) => Number.isInteger(count) && count >= 0);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  if (!valid || total !== layers) {
    throw new ModelError('INVALID_ARGUMENT', `recompute counts ${total} blocks of a model that has ${layers}.`, {
      value: recompute,
      remedy: `Name one mode for all blocks (${recomputeModes.join(', ')}), or numbers of blocks that add up to ${layers}.`,
    });
  }
  return counts.flatMap(([mode, count]) => new Array<RecomputeMode>(count).fill(mode));
}
