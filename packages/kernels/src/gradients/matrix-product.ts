/** Gradient of tfjs's batched matrix product, broadcasting included. */
import { BatchMatMul, type Tensor } from '@tensorflow/tfjs-core';
import { matrixProduct } from '../ops/matrix-product';
import { registerOnce, sumToShape } from './register';

export function registerMatrixProductGradient(): void {
  registerOnce({
    kernelName: BatchMatMul,
    inputsToSave: ['a', 'b'],
    gradFunc: (gradient, saved, attributes) => {
      const dy = gradient as Tensor;
      const [a, b] = saved as [Tensor, Tensor];
      const { transposeA, transposeB } = attributes as { transposeA: boolean; transposeB: boolean };
      return {
        a: () => {
          const da = transposeA ? matrixProduct(b, dy, transposeB, true) : matrixProduct(dy, b, false, !transposeB);
          return sumToShape(da, a.shape);
        },
        b: () => {
          const db = transposeB ? matrixProduct(dy, a, true, transposeA) : matrixProduct(a, dy, !transposeA, false);
          return sumToShape(db, b.shape);
        },
      };
    },
  });
}
