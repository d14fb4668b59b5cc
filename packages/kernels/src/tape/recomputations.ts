/**
 * Other ways to an operation's outputs, for blocks that compute them again.
 *
 * An operation of several outputs may have one that follows from another which was kept, more cheaply or from less than what the
 * operation itself reads. Its module registers that here; it must give the same bits. Costs one map look-up an operation.
 */
import type { NamedAttrMap, Tensor } from '@tensorflow/tfjs-core';
import type { KernelInputs } from './engine-internals';

/** A kernel's call. Its tensors may be gone: they say which data was meant, in which shape and dtype. */
export interface Operation {
  kernelName: string;
  inputs: KernelInputs;
  attributes: NamedAttrMap | undefined;
  /** May be fewer than the kernel's: the others are not wanted. */
  outputs: readonly Tensor[];
}

/** Returns what to run instead of `operation`, or undefined; it may read what the operation reads and outputs that were kept. */
export type Recomputation = (operation: Operation, isKept: (output: Tensor) => boolean) => Operation | undefined;

const recomputations = new Map<string, Recomputation>();

export function registerRecomputation(kernelName: string, recomputation: Recomputation): void {
  recomputations.set(kernelName, recomputation);
}

/** What to run to get the outputs of `operation` that were not kept. */
export function recomputationOf(operation: Operation, isKept: (output: Tensor) => boolean): Operation {
  return recomputations.get(operation.kernelName)?.(operation, isKept) ?? operation;
}
