/** Gradient clipping by global norm (Pascanu et al. 2013, arXiv 1211.5063). Cost: one pass over all gradients. */
import { addN, div, minimum, type Scalar, scalar, sqrt, square, sum, type Tensor, tidy } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { XgGlobalNorm } from '../kernel-names';
import { checkNumber, checkTensors } from './check-tensors';
import { isHostBackend, readValues } from './host-memory';
import { hasKernel, runKernel } from './run-kernel';

export interface GlobalNorm {
  /** L2 norm over all elements of all gradients. */
  norm: Scalar;
  /** min(1, maximumNorm / norm), to pass to `adamW` as gradientScale; NaN where the norm is NaN. */
  scale: Scalar;
}

/**
 * The L2 norm over all gradients together, and the factor that brings it down to `maximumNorm`.
 *
 * gradients: float32 tensors of any shapes, at least one; maximumNorm > 0, Infinity for no clipping.
 *
 * @throws KernelsError WRONG_DTYPE, WRONG_OPTION
 */
export function globalNormScale(gradients: readonly Tensor[], maximumNorm: number): GlobalNorm {
  if (gradients.length === 0) {
    throw new KernelsError('WRONG_OPTION', 'globalNormScale: there must be at least one gradient.', { value: 0 });
  }
  gradients.forEach((gradient, i) =>
    checkTensors('globalNormScale', { [`gradients[${i}]`]: [gradient, 'float32', gradient.shape] }),
  );
  checkNumber('globalNormScale', 'maximumNorm', maximumNorm, { minimum: Number.MIN_VALUE, finite: false });
  if (hasKernel(XgGlobalNorm)) {
    const inputs = Object.fromEntries(gradients.map((gradient, i) => [`gradient${i}`, gradient]));
    const [norm, scale] = runKernel(XgGlobalNorm, inputs, { count: gradients.length, maximumNorm });
    return { norm: norm as Scalar, scale: scale as Scalar };
  }
  if (isHostBackend()) return hostNorm(gradients, maximumNorm);
  return tidy(() => {
    const norm = sqrt<Scalar>(addN(gradients.map((gradient) => sum<Scalar>(square(gradient)))));
    const scale = maximumNorm === Infinity ? scalar(1) : minimum<Scalar>(scalar(1), div(scalar(maximumNorm), norm));
    return { norm, scale };
  });
}

function hostNorm(gradients: readonly Tensor[], maximumNorm: number): GlobalNorm {
  let sumOfSquares = 0;
  for (const gradient of gradients) {
    const values = readValues(gradient);
    for (let i = 0; i < values.length; i++) sumOfSquares += values[i] * values[i];
  }
  const norm = Math.sqrt(sumOfSquares);
  return { norm: scalar(norm), scale: scalar(Number.isNaN(norm) ? NaN : norm > maximumNorm ? maximumNorm / norm : 1) };
}
