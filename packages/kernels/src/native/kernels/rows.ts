/** Embedding, normalisation, rotary positions, gated activation. */
import * as names from '../../kernel-names';
import { KernelsError } from '../../kernels-error';
import { checkCounts, checkInfos } from '../check-infos';
import { defineKernel, type NativeKernel } from '../kernel-definition';

const embedding = defineKernel<names.XgEmbeddingInputs>(names.XgEmbedding, ({ weight, ids }, _, backend) => {
  const { V, D, N } = checkInfos(['weight', weight, 'float32', 'V', 'D'], ['ids', ids, 'int32', 'N']);
  const out = backend.emptyFloats([N, D]);
  backend.addon.embedding(N, D, V, backend.floats(weight), backend.integers(ids), out.array);
  return [out.info];
});

const embeddingGrad = defineKernel<names.XgEmbeddingGradInputs, names.XgEmbeddingGradAttrs>(
  names.XgEmbeddingGrad,
  ({ ids, dy }, { vocabularySize }, backend) => {
    const { N, D } = checkInfos(['ids', ids, 'int32', 'N'], ['dy', dy, 'float32', 'N', 'D']);
    checkCounts({ vocabularySize });
    const dWeight = backend.emptyFloats([vocabularySize, D]);
    backend.addon.embeddingGrad(N, D, vocabularySize, backend.integers(ids), backend.floats(dy), dWeight.array);
    return [dWeight.info];
  },
);

const rmsNorm = defineKernel<names.XgRmsNormInputs, names.XgRmsNormAttrs>(
  names.XgRmsNorm,
  ({ x, weight }, { epsilon }, backend) => {
    const { N, D } = checkInfos(['x', x, 'float32', 'N', 'D'], ['weight', weight, 'float32', 'D']);
    const y = backend.emptyFloats([N, D]);
    const inverseRms = backend.emptyFloats([N]);
    const [source, scale] = [backend.floats(x), backend.floats(weight)];
    backend.addon.rmsNorm(N, D, epsilon, source, null, scale, y.array, null, inverseRms.array);
    return [y.info, inverseRms.info];
  },
);

const rmsNormGrad = defineKernel<names.XgRmsNormGradInputs, names.XgRmsNormGradAttrs>(
  names.XgRmsNormGrad,
  ({ x, weight, inverseRms, dy }, { needs: [needsX, needsWeight] = [true, true] }, backend) => {
    const { N, D } = checkInfos(
      ['x', x, 'float32', 'N', 'D'],
      ['weight', weight, 'float32', 'D'],
      ['inverseRms', inverseRms, 'float32', 'N'],
      ['dy', dy, 'float32', 'N', 'D'],
    );
    const dx = needsX ? backend.emptyFloats([N, D]) : undefined;
    const dWeight = needsWeight ? backend.emptyFloats([D]) : undefined;
    const inputs = [x, weight, inverseRms, dy].map((info) => backend.floats(info));
    const [values, scale, inverse, gradient] = inputs;
    backend.addon.rmsNormGrad(N, D, values, scale, inverse, gradient, null, dx?.array ?? null, dWeight?.array ?? null);
    return [dx, dWeight].flatMap((output) => (output === undefined ? [] : [output.info]));
  },
);

const addRmsNorm = defineKernel<names.XgAddRmsNormInputs, names.XgAddRmsNormAttrs>(
  names.XgAddRmsNorm,
  ({ x, residual, weight }, { epsilon }, backend) => {
    const { N, D } = checkInfos(
      ['x', x, 'float32', 'N', 'D'],
      ['residual', residual, 'float32', 'N', 'D'],
      ['weight', weight, 'float32', 'D'],
    );
    const y = backend.emptyFloats([N, D]);
    const sum = backend.emptyFloats([N, D]);
    const inverseRms = backend.emptyFloats([N]);
    const [a, b, scale] = [x, residual, weight].map((info) => backend.floats(info));
    backend.addon.rmsNorm(N, D, epsilon, a, b, scale, y.array, sum.array, inverseRms.array);
    return [y.info, sum.info, inverseRms.info];
  },
);

const residualRmsNorm = defineKernel<names.XgResidualRmsNormInputs, names.XgResidualRmsNormAttrs>(
  names.XgResidualRmsNorm,
  ({ x, weight }, { epsilon }, backend) => {
    const { N, D } = checkInfos(['x', x, 'float32', 'N', 'D'], ['weight', weight, 'float32', 'D']);
    const y = backend.emptyFloats([N, D]);
    const inverseRms = backend.emptyFloats([N]);
    const [source, scale] = [backend.floats(x), backend.floats(weight)];
    backend.addon.rmsNorm(N, D, epsilon, source, null, scale, y.array, null, inverseRms.array);
    backend.incRef(x.dataId);
    return [y.info, { dataId: x.dataId, shape: [N, D], dtype: 'float32' }, inverseRms.info];
  },
);

const addRmsNormGrad = defineKernel<names.XgAddRmsNormGradInputs, names.XgAddRmsNormGradAttrs>(
  names.XgAddRmsNormGrad,
  ({ sum, weight, inverseRms, dy, dSum }, { needs: [needsSum, needsWeight] = [true, true] }, backend) => {
    const { N, D } = checkInfos(
      ['sum', sum, 'float32', 'N', 'D'],
      ['weight', weight, 'float32', 'D'],
      ['inverseRms', inverseRms, 'float32', 'N'],
      ['dy', dy, 'float32', 'N', 'D'],
    );
    if (dSum) checkInfos(['dSum', dSum, 'float32', N, D]);
    const dTotal = needsSum ? backend.emptyFloats([N, D]) : undefined;
    const dWeight = needsWeight ? backend.emptyFloats([D]) : undefined;
    const [values, scale, inverse, gradient] = [sum, weight, inverseRms, dy].map((info) => backend.floats(info));
    backend.addon.rmsNormGrad(
      N,
      D,
      values,
      scale,
      inverse,
      gradient,
      dSum && needsSum ? backend.floats(dSum) : null,
      dTotal?.array ?? null,
      dWeight?.array ?? null,
    );
    return [dTotal, dWeight].flatMap((output) => (output === undefined ? [] : [output.info]));
  },
);

const rope = defineKernel<names.XgRopeInputs, names.XgRopeAttrs>(
  names.XgRope,
  (
    { qkv, positions, inverseFrequencies },
    { rotatedHeads, headDimension, attentionScaling, inverse = false },
    backend,
  ) => {
    checkCounts({ headDimension });
    const { N, W } = checkInfos(
      ['qkv', qkv, 'float32', 'N', 'W'],
      ['positions', positions, 'int32', 'N'],
      ['inverseFrequencies', inverseFrequencies, 'float32', headDimension / 2],
    );
    if (W % headDimension !== 0 || rotatedHeads * headDimension > W) {
      throw new KernelsError(
        'WRONG_SHAPE',
        `rows of ${W} do not hold whole heads of ${headDimension}, ${rotatedHeads} of them rotated.`,
      );
    }
    const y = backend.emptyFloats([N, W]);
    backend.addon.rope(
      N,
      W,
      rotatedHeads,
      headDimension,
      attentionScaling,
      inverse,
      backend.floats(qkv),
      backend.integers(positions),
      backend.floats(inverseFrequencies),
      y.array,
    );
    return [y.info];
  },
);

const swiglu = defineKernel<names.XgSwigluInputs>(names.XgSwiglu, ({ gateUp }, _, backend) => {
  const { N, W } = checkInfos(['gateUp', gateUp, 'float32', 'N', 'W']);
  if (W % 2 !== 0) throw new KernelsError('WRONG_SHAPE', `gateUp has ${W} columns, an odd number.`, { value: W });
  const y = backend.emptyFloats([N, W / 2]);
  backend.addon.swiglu(N, W / 2, backend.floats(gateUp), y.array);
  return [y.info];
});

const swigluGrad = defineKernel<names.XgSwigluGradInputs>(names.XgSwigluGrad, ({ gateUp, dy }, _, backend) => {
  const { N, F } = checkInfos(['dy', dy, 'float32', 'N', 'F']);
  checkInfos(['gateUp', gateUp, 'float32', N, 2 * F]);
  const dGateUp = backend.emptyFloats([N, 2 * F]);
  backend.addon.swigluGrad(N, F, backend.floats(gateUp), backend.floats(dy), dGateUp.array);
  return [dGateUp.info];
});

export const rowKernels: readonly NativeKernel[] = [
  embedding,
  embeddingGrad,
  rmsNorm,
  rmsNormGrad,
  addRmsNorm,
  residualRmsNorm,
  addRmsNormGrad,
  rope,
  swiglu,
  swigluGrad,
];
