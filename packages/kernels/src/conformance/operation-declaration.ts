/**
 * One declaration an operation, from which the suite derives everything that is tested and timed, for every backend.
 *
 * The reference is plain loops in float64, written from the definition and not from the implementation.
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import type { HostTensor } from './host-tensor';

export type CaseInputs = Record<string, HostTensor>;
export type CaseTensors = Record<string, Tensor>;

export interface OperationCase<Attributes> {
  readonly name: string;
  readonly inputs: CaseInputs;
  readonly attributes: Attributes;
  /** Large enough to cross block borders: fewer finite differences, so that the reference stays quick. */
  readonly large?: boolean;
}

export interface FailureCase {
  readonly name: string;
  /** Must throw a KernelsError with `code`. Runs in a tidy scope. */
  readonly call: () => void;
  readonly code: string;
  /** True where the check reads values, which only happens on backends whose tensors lie in host memory. */
  readonly readsValues?: boolean;
}

export interface OperationDeclaration<Attributes> {
  readonly operation: string;
  /** The fused kernels behind it: a backend that has all of them runs fused, else composed. */
  readonly kernels: readonly string[];
  /** Inputs whose gradients are checked; empty for inference-only operations. */
  readonly differentiable: readonly string[];
  /** True where bfloat16 matrix products may be used on request. */
  readonly usesMatmulPrecision: boolean;
  /** Relative error ‖out − reference‖/‖reference‖ allowed in float32; default 1e-5. */
  readonly tolerance?: number;
  /** True where `run` copies its inputs first, because the operation changes them. */
  readonly changesInPlace?: boolean;
  readonly cases: readonly OperationCase<Attributes>[];
  /** A case of realistic size, for timing only. */
  benchmark(this: void): OperationCase<Attributes>;
  /** Runs the operation; returns its outputs (for operations in place: what they changed). */
  run(this: void, inputs: CaseTensors, attributes: Attributes): Tensor[];
  /** The same outputs, in float64. Integer outputs must agree exactly. */
  reference(this: void, inputs: CaseInputs, attributes: Attributes): Float64Array[];
  readonly failures: readonly FailureCase[];
}

/** Checks a declaration's types and forgets its attributes' type, so that declarations of all operations fit one list. */
export function declareOperation<Attributes>(
  declaration: OperationDeclaration<Attributes>,
): OperationDeclaration<unknown> {
  return declaration;
}

/** For operations without attributes. */
export type NoAttributes = Record<string, never>;
