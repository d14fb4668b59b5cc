/**
 * Activation checkpointing (Chen et al. 2016, arXiv 1604.06174) operation by operation: hold less of a block between the passes,
 * compute the rest again in the backward pass.
 *
 * The block runs once and is recorded like any other code. When it has run, the tensors that its gradients will read are let go, but
 * for those that came from outside and those marked with `kept`. In the backward pass a tensor that is gone is computed when the first
 * gradient asks for it, by running the kernels that lead to it from what was held, each at most once; it goes when the last reader
 * had it. A kernel whose outputs no gradient reads never runs again.
 *
 * Memory between the passes: what is kept, and of the tensors from outside those that something is computed from. Cost: the kernels that run
 * again, and some microseconds a kernel. The gradients are those of the block without this function, bit for bit.
 */
import { getGradient, type DataId, type Tensor, type TensorContainer, tidy } from '@tensorflow/tfjs-core';
import '../gradients/index';
import {
  engineInternals,
  isRecording,
  type KernelInputs,
  listOf,
  observeKernels,
  type TapeNode,
  viewOf,
} from './engine-internals';
import { type Operation, recomputationsOf } from './recomputations';

/** The block that is running. */
let current: Checkpoint | undefined;

/**
 * `block()`, of which only what it marks as `kept` is held for the backward pass.
 *
 * Its operations must give the same values again from the same inputs: all of this package and of tfjs do. What tfjs computes without a
 * kernel (random numbers, uploads) counts as coming from outside. Outside a differentiated function, and inside another checkpointed
 * block, whose marks then count alone, it is `tf.tidy`.
 */
export function checkpointed<T extends TensorContainer>(block: () => T): T {
  if (!isRecording() || current !== undefined) return tidy(block);
  const tape = engineInternals().state.activeTape!;
  const start = tape.length;
  const checkpoint = new Checkpoint();
  current = checkpoint;
  try {
    const result = tidy(() => observeKernels((...call) => checkpoint.observe(...call), block));
    checkpoint.thin(tape.slice(start));
    return result;
  } catch (error) {
    checkpoint.discard();
    throw error;
  } finally {
    current = undefined;
  }
}

/**
 * Marks a result of an operation of the checkpointed block that is running: it is held, not computed again. What else the gradient of that
 * operation reads of its results is held too, unless it follows from what is held: attention's log-sum-exp with its output. Returns the
 * tensor; elsewhere does nothing.
 */
export function kept<T extends Tensor>(tensor: T): T {
  current?.keep(tensor);
  return tensor;
}

/** Data that a block read or made. Reshaped and cloned tensors share theirs. */
interface Value {
  /** What makes it; undefined where it came from outside. */
  operation?: Operation;
  kept: boolean;
  /** While it is held or computed. */
  tensor?: Tensor;
  /** How many gradients and kernels to run again will still read it. */
  uses: number;
}

class Checkpoint {
  private readonly values = new Map<DataId, Value>();
  private pending = 0;

  observe(
    kernelName: string,
    inputs: KernelInputs,
    attributes: Operation['attributes'],
    outputs: readonly Tensor[],
  ): void {
    for (const input of tensorsOf(inputs)) {
      // From outside: it may be gone when the block ends, so that it is held until it is known who reads it.
      if (!this.values.has(input.dataId)) {
        this.values.set(input.dataId, { kept: false, tensor: viewOf(input, input), uses: 0 });
      }
    }
    const operation = { kernelName, inputs, attributes, outputs };
    for (const { dataId } of outputs) {
      if (!this.values.has(dataId)) this.values.set(dataId, { operation, kept: false, uses: 0 });
    }
  }

  keep(tensor: Tensor): void {
    const operation = this.values.get(tensor.dataId)?.operation;
    if (operation === undefined) return;
    this.hold(tensor);
    // The types promise a gradient for every kernel.
    const gradient = getGradient(operation.kernelName) as ReturnType<typeof getGradient> | undefined;
    const ways = recomputationsOf(operation, (output) => this.isKept(output));
    const followers = new Set(ways.flatMap(({ outputs }) => outputs.map(({ dataId }) => dataId)));
    operation.outputs.forEach((output, index) => {
      if (gradient?.outputsToSave?.[index] && !followers.has(output.dataId)) this.hold(output);
    });
  }

  private hold(tensor: Tensor): void {
    const value = this.values.get(tensor.dataId)!;
    if (value.kept || value.operation === undefined || tensor.isDisposed) return;
    value.kept = true;
    value.tensor = viewOf(tensor, tensor);
  }

  private isKept({ dataId }: Tensor): boolean {
    return this.values.get(dataId)!.kept;
  }

  /** Lets go of what the nodes' gradients would read and nobody keeps, and of what was held in vain. */
  thin(nodes: readonly TapeNode[]): void {
    this.choose();
    const needed = new Set<Operation>();
    for (const node of nodes) {
      const { saved, gradient } = node;
      if (saved === undefined || gradient === undefined) continue;
      const before = this.pending;
      saved.forEach((tensor, index) => {
        const value = this.values.get(tensor.dataId);
        if (value?.operation === undefined || value.kept) return;
        this.use(value, needed);
        this.pending++;
        saved[index] = new Gone(this, value, tensor) as unknown as Tensor;
        tensor.dispose();
      });
      if (this.pending === before) continue;
      node.gradient = (dys) => {
        saved.forEach((tensor: unknown, index) => {
          if (tensor instanceof Gone) saved[index] = tensor.computed();
        });
        return gradient(dys);
      };
    }
    for (const [dataId, value] of this.values) {
      if (value.uses > 0) continue;
      value.tensor?.dispose();
      this.values.delete(dataId);
    }
  }

  /** Chooses how what is not kept is computed again. */
  private choose(): void {
    const operations = new Set([...this.values.values()].map(({ operation }) => operation));
    for (const operation of operations) {
      if (operation === undefined) continue;
      for (const way of recomputationsOf(operation, (output) => this.isKept(output))) {
        for (const { dataId } of way.outputs) this.values.get(dataId)!.operation = way;
      }
    }
  }

  /** Counts a reader of `value` and, where it must be computed, of everything on the way to it. */
  private use(value: Value, needed: Set<Operation>): void {
    value.uses++;
    if (value.operation === undefined || value.kept || needed.has(value.operation)) return;
    needed.add(value.operation);
    for (const input of this.inputsOf(value.operation)) this.use(input, needed);
  }

  /** The value's tensor, computed where it is gone; the caller must `release` the value afterwards. */
  compute(value: Value): Tensor {
    if (value.tensor !== undefined) return value.tensor;
    const { kernelName, inputs, attributes, outputs } = value.operation!;
    const views: Tensor[] = [];
    const found = (input: Tensor): Tensor => {
      const view = viewOf(this.compute(this.values.get(input.dataId)!), input);
      views.push(view);
      return view;
    };
    try {
      const again = Array.isArray(inputs)
        ? inputs.map(found)
        : Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input && found(input)]));
      listOf(engineInternals().runKernel(kernelName, again, attributes)).forEach((tensor, index) => {
        const output = index < outputs.length ? this.values.get(outputs[index].dataId) : undefined;
        if (output === undefined || output.uses === 0 || output.tensor !== undefined) tensor.dispose();
        else output.tensor = engineInternals().keep(tensor);
      });
    } finally {
      for (const view of views) view.dispose();
    }
    for (const input of this.inputsOf(value.operation!)) this.release(input);
    return value.tensor!;
  }

  release(value: Value): void {
    if (--value.uses > 0) return;
    value.tensor?.dispose();
    value.tensor = undefined;
  }

  /** A gradient has what it reads, or will not run; after the last one nothing is held. */
  settle(): void {
    if (--this.pending === 0) this.discard();
  }

  discard(): void {
    for (const { tensor } of this.values.values()) tensor?.dispose();
    this.values.clear();
  }

  private inputsOf({ inputs }: Operation): Set<Value> {
    return new Set(tensorsOf(inputs).map(({ dataId }) => this.values.get(dataId)!));
  }
}

/** Stands in a tape node's list of saved tensors for one that was let go. Whoever walks the tape disposes it like a tensor. */
class Gone {
  private settled = false;

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly value: Value,
    private readonly info: Pick<Tensor, 'shape' | 'dtype'>,
  ) {}

  computed(): Tensor {
    const tensor = viewOf(this.checkpoint.compute(this.value), this.info);
    this.dispose();
    return tensor;
  }

  dispose(): void {
    if (this.settled) return;
    this.settled = true;
    this.checkpoint.release(this.value);
    this.checkpoint.settle();
  }
}

function tensorsOf(inputs: KernelInputs): Tensor[] {
  return Object.values(inputs).filter((input) => input !== null && input !== undefined);
}
