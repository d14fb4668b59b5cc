/**
 * Rotary positions and the paged cache's append together, as every layer of a decoding step has them: one launch where the backend has it,
 * else the two operations.
 */
import type { Tensor, Tensor2D, Variable } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { XgRopeAppend, type XgRopeAppendAttrs } from '../kernel-names';
import { checkNumber, checkTensors } from './check-tensors';
import { checkIdRange } from './check-values';
import { checkPagedCacheShape, pagedCacheAppend, type PagedCacheShape, refuseRecording } from './paged-cache';
import { rope } from './rope';
import { hasKernel, runKernel } from './run-kernel';

export interface RopeAppendOptions extends PagedCacheShape {
  /** Factor on both sine and cosine (YaRN); default 1. */
  attentionScaling?: number;
}

/**
 * `rope` of the query and key heads of qkv, whose result is returned and its key and value heads written to row slots[n] of the caches, as
 * `pagedCacheAppend` does.
 *
 * qkv float32 [N,(Hq+2Hkv)·hd], positions int32 [N], inverseFrequencies float32 [hd/2], slots int32 [N]; the caches float32
 * [blocks·blockSize, Hkv·hd] → same shape as qkv. Inference only.
 *
 * @throws KernelsError WRONG_SHAPE, WRONG_DTYPE, WRONG_OPTION, OUT_OF_RANGE, NO_GRADIENT (inside a differentiated function)
 */
export function ropeAppend(
  keyCache: Variable,
  valueCache: Variable,
  qkv: Tensor,
  positions: Tensor,
  inverseFrequencies: Tensor,
  slots: Tensor,
  options: RopeAppendOptions,
): Tensor2D {
  checkPagedCacheShape('ropeAppend', options);
  refuseRecording('ropeAppend');
  const { queryHeads, keyValueHeads, headDimension, attentionScaling = 1 } = options;
  checkNumber('ropeAppend', 'attentionScaling', attentionScaling);
  if (headDimension % 2 !== 0) {
    throw new KernelsError('WRONG_OPTION', `ropeAppend: headDimension must be even, but is ${headDimension}.`, {
      value: headDimension,
    });
  }
  const width = keyValueHeads * headDimension;
  const { rows } = checkTensors('ropeAppend', {
    keyCache: [keyCache, 'float32', ['rows', width]],
    valueCache: [valueCache, 'float32', ['rows', width]],
    qkv: [qkv, 'float32', ['N', (queryHeads + 2 * keyValueHeads) * headDimension]],
    positions: [positions, 'int32', ['N']],
    inverseFrequencies: [inverseFrequencies, 'float32', [headDimension / 2]],
    slots: [slots, 'int32', ['N']],
  });
  checkIdRange('ropeAppend', 'slots', slots, rows);
  if (hasKernel(XgRopeAppend)) {
    const attributes: XgRopeAppendAttrs = { queryHeads, keyValueHeads, headDimension, attentionScaling };
    const inputs = { keyCache, valueCache, qkv, positions, inverseFrequencies, slots };
    return runKernel(XgRopeAppend, inputs, attributes)[0] as Tensor2D;
  }
  const rotation = { rotatedHeads: queryHeads + keyValueHeads, headDimension, attentionScaling };
  const rotated = rope(qkv, positions, inverseFrequencies, rotation);
  pagedCacheAppend(keyCache, valueCache, rotated, slots, options);
  return rotated;
}
