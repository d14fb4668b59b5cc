import { zeros } from '@tensorflow/tfjs-core';
import { floats, normal } from '../conformance/host-tensor';
import { declareOperation, type NoAttributes, type OperationCase } from '../conformance/operation-declaration';
import { XgSwiglu, XgSwigluGrad } from '../kernel-names';
import { swiglu } from './swiglu';

function swigluCase(tokens: number, width: number): OperationCase<NoAttributes> {
  return {
    name: `N ${tokens}, F ${width}`,
    inputs: { gateUp: normal([tokens, 2 * width], 1, 2) },
    attributes: {},
  };
}

export const swigluOperation = declareOperation<NoAttributes>({
  operation: 'swiglu',
  kernels: [XgSwiglu, XgSwigluGrad],
  differentiable: ['gateUp'],
  usesMatmulPrecision: false,
  cases: [
    swigluCase(1, 1),
    swigluCase(3, 5),
    swigluCase(17, 33),
    swigluCase(4, 704),
    {
      name: 'gates far from zero',
      inputs: { gateUp: floats([2, 6], [-90, -30, 0, 1, 2, 3, 30, 90, 100, 1, 2, 3]) },
      attributes: {},
    },
  ],
  benchmark: () => swigluCase(2048, 704),
  run: ({ gateUp }) => [swiglu(gateUp)],
  reference: ({ gateUp }) => {
    const [rows, width] = gateUp.shape;
    const half = width / 2;
    return [
      Float64Array.from({ length: rows * half }, (_, i) => {
        const gate = gateUp.values[Math.floor(i / half) * width + (i % half)];
        const up = gateUp.values[Math.floor(i / half) * width + half + (i % half)];
        return (gate / (1 + Math.exp(-gate))) * up;
      }),
    ];
  },
  failures: [
    { name: 'an odd width', call: () => swiglu(zeros([2, 5])), code: 'WRONG_SHAPE' },
    { name: 'integers', call: () => swiglu(zeros([2, 4], 'int32')), code: 'WRONG_DTYPE' },
  ],
});
