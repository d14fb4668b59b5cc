/**
 * Outputs that nothing used.
 *
 * tfjs hands a gradient function zeros, made and uploaded for the purpose, for every output that no later operation read.
 * Operations that know better list themselves here; the walk of `valueAndGradients` then passes them a marker instead. Under tfjs's own
 * `variableGrads` they still get zeros, so a gradient function must handle both.
 */
import type { Tensor } from '@tensorflow/tfjs-core';

const acceptingKernels = new Set<string>();
const marker = Object.freeze({ missingGradient: true }) as unknown as Tensor;

/** Declares that the gradient function of `kernelName` tests its incoming gradients with `isMissing`. */
export function acceptMissingGradients(kernelName: string): void {
  acceptingKernels.add(kernelName);
}

/** What to pass for an unused output of `kernelName`: the marker, or null (tfjs then makes zeros). */
export function missingGradient(kernelName: string): Tensor | null {
  return acceptingKernels.has(kernelName) ? marker : null;
}

export function isMissing(gradient: Tensor): boolean {
  return gradient === marker;
}
