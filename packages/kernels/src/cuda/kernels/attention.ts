/** Attention over packed documents and over the paged cache. Log-sum-exp is float32, caches are kept in the activations' type. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import * as names from '../../kernel-names';
import { KernelsError } from '../../kernels-error';
import { checkCounts, checkInfos } from '../../native/check-infos';
import type { CudaBackend } from '../cuda-backend';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { float32, int32, isFloating } from '../physical-type';

type Heads = Pick<names.XgAttentionAttrs, 'queryHeads' | 'keyValueHeads' | 'headDimension'>;

function rowWidth({ queryHeads, keyValueHeads, headDimension }: Heads): number {
  checkCounts({ queryHeads, keyValueHeads, headDimension });
  if (queryHeads % keyValueHeads !== 0) {
    throw new KernelsError(
      'WRONG_OPTION',
      `${queryHeads} query heads cannot share ${keyValueHeads} key-value heads evenly.`,
      { value: queryHeads },
    );
  }
  return (queryHeads + 2 * keyValueHeads) * headDimension;
}

/** Tokens of the longest document, where the lengths are known here and in order; else 0. */
function longestDocument(cumulativeLengths: TensorInfo, tokens: number, backend: CudaBackend): number {
  const values = backend.hostValues(cumulativeLengths);
  if (values === undefined || values[0] !== 0 || values.at(-1) !== tokens) return 0;
  let longest = 0;
  for (let i = 1; i < values.length; i++) {
    const length = values[i] - values[i - 1];
    if (length < 0) return 0;
    longest = Math.max(longest, length);
  }
  return longest;
}

const attention = defineKernel<names.XgAttentionInputs, names.XgAttentionAttrs>(
  names.XgAttention,
  ({ qkv, cumulativeLengths }, attributes, backend) => {
    const { queryHeads, keyValueHeads, headDimension, scale } = attributes;
    const { N, S } = checkInfos(
      ['qkv', qkv, 'float32', 'N', rowWidth(attributes)],
      ['cumulativeLengths', cumulativeLengths, 'int32', 'S'],
    );
    const type = backend.activationType;
    const out = backend.create([N, queryHeads * headDimension], type);
    const logSumExp = backend.create([N, queryHeads], float32);
    backend.addon.attention(
      queryHeads,
      keyValueHeads,
      headDimension,
      scale,
      N,
      S - 1,
      longestDocument(cumulativeLengths, N, backend),
      backend.arrayAs(qkv, type),
      backend.arrayAs(cumulativeLengths, int32),
      out.handle,
      logSumExp.handle,
    );
    return [out.info, logSumExp.info];
  },
);

const attentionGrad = defineKernel<names.XgAttentionGradInputs, names.XgAttentionAttrs>(
  names.XgAttentionGrad,
  ({ qkv, cumulativeLengths, out, logSumExp, dy }, attributes, backend) => {
    const { queryHeads, keyValueHeads, headDimension, scale } = attributes;
    const { N, S } = checkInfos(
      ['qkv', qkv, 'float32', 'N', rowWidth(attributes)],
      ['cumulativeLengths', cumulativeLengths, 'int32', 'S'],
    );
    const width = queryHeads * headDimension;
    checkInfos(
      ['out', out, 'float32', N, width],
      ['logSumExp', logSumExp, 'float32', N, queryHeads],
      ['dy', dy, 'float32', N, width],
    );
    const type = backend.activationType;
    const dQkv = backend.create(qkv.shape, type);
    backend.addon.attentionGrad(
      queryHeads,
      keyValueHeads,
      headDimension,
      scale,
      N,
      S - 1,
      longestDocument(cumulativeLengths, N, backend),
      backend.arrayAs(qkv, type),
      backend.arrayAs(cumulativeLengths, int32),
      backend.arrayAs(out, type),
      backend.arrayAs(logSumExp, float32),
      backend.arrayAs(dy, type),
      dQkv.handle,
    );
    return [dQkv.info];
  },
);

const pagedCacheAppend = defineKernel<names.XgPagedCacheAppendInputs, names.XgPagedCacheAppendAttrs>(
  names.XgPagedCacheAppend,
  ({ keyCache, valueCache, qkv, slots }, attributes, backend) => {
    const { queryHeads, keyValueHeads, headDimension } = attributes;
    const { N, R } = checkInfos(
      ['qkv', qkv, 'float32', 'N', rowWidth(attributes)],
      ['slots', slots, 'int32', 'N'],
      ['keyCache', keyCache, 'float32', 'R', keyValueHeads * headDimension],
      ['valueCache', valueCache, 'float32', 'R', keyValueHeads * headDimension],
    );
    const type = backend.activationType;
    // The first append after the precision was chosen settles how the cache is stored.
    backend.store(keyCache, type);
    backend.store(valueCache, type);
    backend.addon.pagedCacheAppend(
      queryHeads,
      keyValueHeads,
      headDimension,
      1,
      N,
      R,
      backend.writable(keyCache),
      backend.writable(valueCache),
      backend.arrayAs(qkv, type),
      backend.arrayAs(slots, int32),
    );
    return [];
  },
);

const ropeAppend = defineKernel<names.XgRopeAppendInputs, names.XgRopeAppendAttrs>(
  names.XgRopeAppend,
  ({ keyCache, valueCache, qkv, positions, inverseFrequencies, slots }, attributes, backend) => {
    const { queryHeads, keyValueHeads, headDimension, attentionScaling } = attributes;
    const { N, R } = checkInfos(
      ['qkv', qkv, 'float32', 'N', rowWidth(attributes)],
      ['positions', positions, 'int32', 'N'],
      ['inverseFrequencies', inverseFrequencies, 'float32', headDimension / 2],
      ['slots', slots, 'int32', 'N'],
      ['keyCache', keyCache, 'float32', 'R', keyValueHeads * headDimension],
      ['valueCache', valueCache, 'float32', 'R', keyValueHeads * headDimension],
    );
    const type = backend.activationType;
    // As with pagedCacheAppend.
    backend.store(keyCache, type);
    backend.store(valueCache, type);
    const y = backend.create(qkv.shape, type);
    backend.addon.ropeAppend(
      queryHeads,
      keyValueHeads,
      headDimension,
      attentionScaling,
      N,
      R,
      backend.writable(keyCache),
      backend.writable(valueCache),
      backend.arrayAs(qkv, type),
      backend.arrayAs(positions, int32),
      backend.arrayAs(inverseFrequencies, float32),
      backend.arrayAs(slots, int32),
      y.handle,
    );
    return [y.info];
  },
);

const pagedAttention = defineKernel<names.XgPagedAttentionInputs, names.XgPagedAttentionAttrs>(
  names.XgPagedAttention,
  (inputs, attributes, backend) => {
    const { qkv, keyCache, valueCache, cumulativeQueryLengths, contextLengths, blockTables } = inputs;
    const { queryHeads, keyValueHeads, headDimension, scale, blockSize } = attributes;
    checkCounts({ blockSize });
    const cacheWidth = keyValueHeads * headDimension;
    const { N, R, B, M } = checkInfos(
      ['qkv', qkv, 'float32', 'N', rowWidth(attributes)],
      ['keyCache', keyCache, 'float32', 'R', cacheWidth],
      ['valueCache', valueCache, 'float32', 'R', cacheWidth],
      ['contextLengths', contextLengths, 'int32', 'B'],
      ['blockTables', blockTables, 'int32', 'B', 'M'],
    );
    checkInfos(['cumulativeQueryLengths', cumulativeQueryLengths, 'int32', B + 1]);
    const type = backend.activationType;
    // float32 queries read caches that were filled in bfloat16 as they are.
    const stored = backend.typeOf(keyCache);
    const cacheType = type === float32 && isFloating(stored) && stored === backend.typeOf(valueCache) ? stored : type;
    const out = backend.create([N, queryHeads * headDimension], type);
    backend.addon.pagedAttention(
      queryHeads,
      keyValueHeads,
      headDimension,
      scale,
      N,
      R,
      B,
      M,
      blockSize,
      backend.arrayAs(qkv, type),
      backend.arrayAs(keyCache, cacheType),
      backend.arrayAs(valueCache, cacheType),
      backend.arrayAs(cumulativeQueryLengths, int32),
      backend.arrayAs(contextLengths, int32),
      backend.arrayAs(blockTables, int32),
      out.handle,
    );
    return [out.info];
  },
);

export const attentionKernels: readonly CudaKernel[] = [
  attention,
  attentionGrad,
  pagedCacheAppend,
  ropeAppend,
  pagedAttention,
];
