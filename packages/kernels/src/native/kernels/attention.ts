/** Attention over packed documents, the paged cache, and attention over it. */
import * as names from '../../kernel-names';
import { KernelsError } from '../../kernels-error';
import { checkCounts, checkInfos } from '../check-infos';
import { defineKernel, type NativeKernel } from '../kernel-definition';

type Heads = { queryHeads: number; keyValueHeads: number; headDimension: number };

/** Width of a packed row, after checking that the heads make sense. */
function rowWidth({ queryHeads, keyValueHeads, headDimension }: Heads): number {
  checkCounts({ queryHeads, keyValueHeads, headDimension });
  if (queryHeads % keyValueHeads !== 0) {
    throw new KernelsError(
      'WRONG_OPTION',
      `queryHeads (${queryHeads}) must be a multiple of keyValueHeads (${keyValueHeads}).`,
      { value: queryHeads },
    );
  }
  return (queryHeads + 2 * keyValueHeads) * headDimension;
}

const attention = defineKernel<names.XgAttentionInputs, names.XgAttentionAttrs>(
  names.XgAttention,
  ({ qkv, cumulativeLengths }, attributes, backend) => {
    const { queryHeads, keyValueHeads, headDimension, scale } = attributes;
    const { N, C } = checkInfos(
      ['qkv', qkv, 'float32', 'N', rowWidth(attributes)],
      ['cumulativeLengths', cumulativeLengths, 'int32', 'C'],
    );
    const out = backend.emptyFloats([N, queryHeads * headDimension]);
    const logSumExp = backend.emptyFloats([N, queryHeads]);
    backend.addon.attention(
      queryHeads,
      keyValueHeads,
      headDimension,
      scale,
      N,
      C - 1,
      backend.floats(qkv),
      backend.integers(cumulativeLengths),
      out.array,
      logSumExp.array,
    );
    return [out.info, logSumExp.info];
  },
);

const attentionGrad = defineKernel<names.XgAttentionGradInputs, names.XgAttentionAttrs>(
  names.XgAttentionGrad,
  ({ qkv, cumulativeLengths, out, logSumExp, dy }, attributes, backend) => {
    const { queryHeads, keyValueHeads, headDimension, scale } = attributes;
    const width = rowWidth(attributes);
    const { N, C } = checkInfos(
      ['qkv', qkv, 'float32', 'N', width],
      ['cumulativeLengths', cumulativeLengths, 'int32', 'C'],
      ['out', out, 'float32', 'N', queryHeads * headDimension],
      ['logSumExp', logSumExp, 'float32', 'N', queryHeads],
      ['dy', dy, 'float32', 'N', queryHeads * headDimension],
    );
    const dQkv = backend.emptyFloats([N, width]);
    backend.addon.attentionGrad(
      queryHeads,
      keyValueHeads,
      headDimension,
      scale,
      N,
      C - 1,
      backend.floats(qkv),
      backend.integers(cumulativeLengths),
      backend.floats(out),
      backend.floats(logSumExp),
      backend.floats(dy),
      dQkv.array,
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
    backend.addon.pagedCacheAppend(
      queryHeads,
      keyValueHeads,
      headDimension,
      1,
      N,
      R,
      backend.writableFloats(keyCache),
      backend.writableFloats(valueCache),
      backend.floats(qkv),
      backend.integers(slots),
    );
    return [];
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
    const out = backend.emptyFloats([N, queryHeads * headDimension]);
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
      backend.floats(qkv),
      backend.floats(keyCache),
      backend.floats(valueCache),
      backend.integers(cumulativeQueryLengths),
      backend.integers(contextLengths),
      backend.integers(blockTables),
      out.array,
    );
    return [out.info];
  },
);

export const attentionKernels: readonly NativeKernel[] = [attention, attentionGrad, pagedCacheAppend, pagedAttention];
