import { zeros } from '@tensorflow/tfjs-core';
import { floats, type HostTensor, normal } from '../conformance/host-tensor';
import { declareOperation, type OperationCase } from '../conformance/operation-declaration';
import { XgGlobalNorm } from '../kernel-names';
import { globalNormScale } from './global-norm-scale';

interface Attributes {
  maximumNorm: number;
}

function normCase(name: string, gradients: HostTensor[], maximumNorm: number): OperationCase<Attributes> {
  return {
    name: `${name}, maximum ${maximumNorm}`,
    inputs: Object.fromEntries(gradients.map((gradient, i) => [`gradient${i}`, gradient])),
    attributes: { maximumNorm },
  };
}

const several = [normal([17, 33], 1), normal([5], 2, 10), normal([3, 4, 5], 3)];

export const globalNormScaleOperation = declareOperation<Attributes>({
  operation: 'globalNormScale',
  kernels: [XgGlobalNorm],
  differentiable: [],
  usesMatmulPrecision: false,
  cases: [
    normCase('one element', [floats([1], [-3])], 1),
    normCase('several gradients', several, 1),
    normCase('several gradients below the maximum', several, 1e6),
    normCase('several gradients unclipped', several, Infinity),
    normCase('a long one', [normal([100_003], 4)], 0.5),
    normCase('all zero', [floats([3], [0, 0, 0])], 1),
  ],
  benchmark: () => normCase('tiny', [normal([2048, 256], 1), normal([2048, 256], 2), normal([1408, 256], 3)], 1),
  run: (inputs, { maximumNorm }) => {
    const { norm, scale } = globalNormScale(Object.values(inputs), maximumNorm);
    return [norm, scale];
  },
  reference: (inputs, { maximumNorm }) => {
    let sum = 0;
    for (const { values } of Object.values(inputs)) for (const value of values) sum += value * value;
    const norm = Math.sqrt(sum);
    return [Float64Array.of(norm), Float64Array.of(norm > maximumNorm ? maximumNorm / norm : 1)];
  },
  failures: [
    { name: 'no gradients', call: () => globalNormScale([], 1), code: 'WRONG_OPTION' },
    { name: 'a maximum of zero', call: () => globalNormScale([zeros([2])], 0), code: 'WRONG_OPTION' },
    { name: 'a NaN maximum', call: () => globalNormScale([zeros([2])], NaN), code: 'WRONG_OPTION' },
    { name: 'integers', call: () => globalNormScale([zeros([2], 'int32')], 1), code: 'WRONG_DTYPE' },
  ],
});
