/**
 * Other ways to an operation's outputs, for blocks that compute them again.
 *
 * An operation of several outputs may have some that follow from another which was kept, or that come without the rest more cheaply. Its
 * module registers that here; it must give the same bits. Costs one map look-up an operation.
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

/**
 * Returns what to run instead of `operation` for some of its outputs, each of which one of the returned operations makes. They may read what the
 * operation reads, its outputs that were kept, and each other's outputs. Outputs that none of them makes come from the operation itself.
 */
export type Recomputation = (operation: Operation, isKept: (output: Tensor) => boolean) => Operation[];

const recomputations = new Map<string, Recomputation>();

export function registerRecomputation(kernelName: string, recomputation: Recomputation): void {
  recomputations.set(kernelName, recomputation);
}

/** What to run instead of `operation`; empty where nothing was registered or nothing is better. */
export function recomputationsOf(operation: Operation, isKept: (output: Tensor) => boolean): Operation[] {
  return recomputations.get(operation.kernelName)?.(operation, isKept) ?? [];
}
