/** Embedding, normalisation, rotary positions, gated activation. Activations are read and written in the backend's activation type. */
import * as names from '../../kernel-names';
import { KernelsError } from '../../kernels-error';
import { checkCounts, checkInfos } from '../../native/check-infos';
import { type CudaKernel, defineKernel } from '../kernel-definition';
import { float32, int32, isFloating } from '../physical-type';

const embedding = defineKernel<names.XgEmbeddingInputs>(names.XgEmbedding, ({ weight, ids }, _, backend) => {
  const { V, D, N } = checkInfos(['weight', weight, 'float32', 'V', 'D'], ['ids', ids, 'int32', 'N']);
  const out = backend.create([N, D], backend.activationType);
  backend.addon.embedding(N, D, V, backend.array(weight), backend.arrayAs(ids, int32), out.handle);
  return [out.info];
});

const embeddingGrad = defineKernel<names.XgEmbeddingGradInputs, names.XgEmbeddingGradAttrs>(
  names.XgEmbeddingGrad,
  ({ ids, dy }, { vocabularySize }, backend) => {
    const { N, D } = checkInfos(['ids', ids, 'int32', 'N'], ['dy', dy, 'float32', 'N', 'D']);
    checkCounts({ vocabularySize });
    const dWeight = backend.create([vocabularySize, D], float32);
    backend.addon.embeddingGrad(
      N,
      D,
      vocabularySize,
      backend.arrayAs(ids, int32),
      isFloating(backend.typeOf(dy)) ? backend.array(dy) : backend.arrayAs(dy, float32),
      dWeight.handle,
    );
    return [dWeight.info];
  },
);

const rmsNorm = defineKernel<names.XgRmsNormInputs, names.XgRmsNormAttrs>(
  names.XgRmsNorm,
  ({ x, weight }, { epsilon }, backend) => {
    const { N, D } = checkInfos(['x', x, 'float32', 'N', 'D'], ['weight', weight, 'float32', 'D']);
    const type = backend.activationType;
    const y = backend.create([N, D], type);
    const inverseRms = backend.create([N], float32);
    const [source, scale] = [backend.arrayAs(x, type), backend.array(weight)];
    backend.addon.rmsNorm(N, D, epsilon, source, 0, scale, y.handle, 0, inverseRms.handle);
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
    const type = backend.activationType;
    const dx = needsX ? backend.create([N, D], type) : undefined;
    const dWeight = needsWeight ? backend.create([D], float32) : undefined;
    backend.addon.rmsNormGrad(
      N,
      D,
      backend.arrayAs(x, type),
      backend.array(weight),
      backend.arrayAs(inverseRms, float32),
      backend.arrayAs(dy, type),
      0,
      dx?.handle ?? 0,
      dWeight?.handle ?? 0,
    );
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
    const type = backend.activationType;
    const y = backend.create([N, D], type);
    const sum = backend.create([N, D], type);
    const inverseRms = backend.create([N], float32);
    const [a, b] = [backend.arrayAs(x, type), backend.arrayAs(residual, type)];
    backend.addon.rmsNorm(N, D, epsilon, a, b, backend.array(weight), y.handle, sum.handle, inverseRms.handle);
    return [y.info, sum.info, inverseRms.info];
  },
);

const residualRmsNorm = defineKernel<names.XgResidualRmsNormInputs, names.XgResidualRmsNormAttrs>(
  names.XgResidualRmsNorm,
  ({ x, weight }, { epsilon }, backend) => {
    const { N, D } = checkInfos(['x', x, 'float32', 'N', 'D'], ['weight', weight, 'float32', 'D']);
    const type = backend.activationType;
    const y = backend.create([N, D], type);
    const inverseRms = backend.create([N], float32);
    const [source, scale] = [backend.arrayAs(x, type), backend.array(weight)];
    backend.addon.rmsNorm(N, D, epsilon, source, 0, scale, y.handle, 0, inverseRms.handle);
    return [y.info, backend.share(x, x.shape), inverseRms.info];
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
    const type = backend.activationType;
    const dTotal = needsSum ? backend.create([N, D], type) : undefined;
    const dWeight = needsWeight ? backend.create([D], float32) : undefined;
    backend.addon.rmsNormGrad(
      N,
      D,
      backend.arrayAs(sum, type),
      backend.array(weight),
      backend.arrayAs(inverseRms, float32),
      backend.arrayAs(dy, type),
      dSum && needsSum ? backend.arrayAs(dSum, type) : 0,
      dTotal?.handle ?? 0,
      dWeight?.handle ?? 0,
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
    const type = backend.activationType;
    const y = backend.create([N, W], type);
    backend.addon.rope(
      N,
      W / headDimension,
      rotatedHeads,
      headDimension,
      attentionScaling,
      inverse,
      backend.arrayAs(qkv, type),
      backend.arrayAs(positions, int32),
      backend.arrayAs(inverseFrequencies, float32),
      y.handle,
    );
    return [y.info];
  },
);

const swiglu = defineKernel<names.XgSwigluInputs>(names.XgSwiglu, ({ gateUp }, _, backend) => {
  const { N, W } = checkInfos(['gateUp', gateUp, 'float32', 'N', 'W']);
  if (W % 2 !== 0) throw new KernelsError('WRONG_SHAPE', `gateUp has ${W} columns, an odd number.`, { value: W });
  const type = backend.activationType;
  const y = backend.create([N, W / 2], type);
  backend.addon.swiglu(N, W / 2, backend.arrayAs(gateUp, type), y.handle);
  return [y.info];
});

const swigluGrad = defineKernel<names.XgSwigluGradInputs>(names.XgSwigluGrad, ({ gateUp, dy }, _, backend) => {
  const { N, F } = checkInfos(['dy', dy, 'float32', 'N', 'F']);
  checkInfos(['gateUp', gateUp, 'float32', N, 2 * F]);
  const type = backend.activationType;
  const dGateUp = backend.create([N, 2 * F], type);
  backend.addon.swigluGrad(N, F, backend.arrayAs(gateUp, type), backend.arrayAs(dy, type), dGateUp.handle);
  return [dGateUp.info];
});

export const rowKernels: readonly CudaKernel[] = [
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
