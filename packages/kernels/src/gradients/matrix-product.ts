/**
 * Gradient of tfjs's batched matrix product, broadcasting included.
 *
 * Transposes are made explicit where a backend is slow with `transposeA`: tfjs's WebAssembly kernel does 0.4–1 GFLOP/s that
 * way and about 32 on plain operands.
 */
import { BatchMatMul, engine, matMul, transpose, type Tensor } from '@tensorflow/tfjs-core';
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
          const da = transposeA ? product(b, dy, transposeB, true) : product(dy, b, false, !transposeB);
          return sumToShape(da, a.shape);
        },
        b: () => {
          const db = transposeB ? product(dy, a, true, transposeA) : product(a, dy, !transposeA, false);
          return sumToShape(db, b.shape);
        },
      };
    },
  });
}

/** matMul that never asks `wasm` for transposeA. */
export function product(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  if (transposeA && engine().backendName === 'wasm') return matMul(swapLastAxes(a), b, false, transposeB);
  return matMul(a, b, transposeA, transposeB);
}

function swapLastAxes(tensor: Tensor): Tensor {
  const axes = tensor.shape.map((_, axis) => axis);
  const last = axes.pop()!;
  const previous = axes.pop()!;
  return transpose(tensor, [...axes, last, previous]);
}
