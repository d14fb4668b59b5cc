/**
 * Recording a function and walking its tape backward, freeing as it goes.
 *
 * tfjs's own walk keeps every saved tensor and every incoming gradient until the last node is done. Here a node's saved tensors and
 * incoming gradients are disposed right after its gradient function ran, so the peak is what the forward pass saved plus one
 * node's gradients. The order of operations is tfjs's, so the gradients are bit-identical. Cost: a few microseconds a node.
 */
import { add, clone, type Tensor } from '@tensorflow/tfjs-core';
import { KernelsError } from '../kernels-error';
import { engineInternals, type TapeNode } from './engine-internals';
import { missingGradient } from './missing-gradients';

/**
 * Runs `f` in a tidy scope while every operation is recorded. The caller owns the tape and must pass it to `backpropagate` or
 * `releaseTape`; when `f` throws, what it had saved is freed first.
 */
export function recordTape<T>(f: () => T): { result: T; tape: TapeNode[] } {
  const engine = engineInternals();
  if (engine.state.gradientDepth > 0) {
    throw new KernelsError(
      'NESTED_GRADIENT',
      'A gradient was asked for inside a function that is being differentiated.',
      {
        remedy: 'Gradients of gradients are not supported; move the inner call out.',
      },
    );
  }
  // In a backward pass of tfjs's own `variableGrads` its tape is still set, and needed afterwards.
  const outerTape = engine.state.activeTape;
  engine.startTape();
  const tape = engine.state.activeTape as TapeNode[];
  let finished = false;
  try {
    const result = engine.tidy(f);
    finished = true;
    return { result, tape };
  } finally {
    engine.endTape();
    engine.state.activeTape = outerTape;
    if (!finished) releaseTape(tape);
  }
}

/** Frees everything the tape saved. */
export function releaseTape(tape: readonly TapeNode[]): void {
  for (const node of tape) releaseSaved(node);
}

/**
 * Gradients of `outputs` (weighted by `outputGradients`, which stay the caller's) with respect to `sources`, in their order; undefined where nothing
 * leads from a source to an output. Consumes the tape, also when a gradient function throws.
 */
export function backpropagate(
  tape: readonly TapeNode[],
  outputs: readonly Tensor[],
  outputGradients: readonly Tensor[],
  sources: readonly Tensor[],
): (Tensor | undefined)[] {
  try {
    return engineInternals().tidy(() => walk(tape, outputs, outputGradients, sources));
  } finally {
    releaseTape(tape);
  }
}

function walk(
  tape: readonly TapeNode[],
  outputs: readonly Tensor[],
  outputGradients: readonly Tensor[],
  sources: readonly Tensor[],
): (Tensor | undefined)[] {
  const { fromSources, onPath } = nodesBetween(tape, sources, outputs);
  for (const node of tape) if (!onPath.has(node.id)) releaseSaved(node);

  const sourceIds = new Set(sources.map((source) => source.id));
  const gradients = new Map<number, Tensor>();
  outputs.forEach((output, index) => accumulate(gradients, output.id, clone(outputGradients[index])));

  for (let index = tape.length - 1; index >= 0; index--) {
    const node = tape[index];
    if (!onPath.has(node.id)) continue;
    const incoming = node.outputs.map((output) => gradients.get(output.id) ?? missingGradient(node.kernelName));
    const names = Object.keys(node.inputs).filter((name) => fromSources.has(node.inputs[name].id));
    const computed = runGradient(node, incoming, names);
    // All is computed: what this node held can go before the results are added up.
    releaseSaved(node);
    for (const output of node.outputs) {
      if (sourceIds.has(output.id)) continue;
      gradients.get(output.id)?.dispose();
      gradients.delete(output.id);
    }
    names.forEach((name, i) => accumulate(gradients, node.inputs[name].id, computed[i]));
  }
  return sources.map((source) => gradients.get(source.id));
}

/** The gradients of one node, each a tensor of its own. */
function runGradient(node: TapeNode, incoming: (Tensor | null)[], names: readonly string[]): Tensor[] {
  if (node.gradient === undefined) {
    throw new KernelsError('NO_GRADIENT', `The operation ${node.kernelName} has no gradient.`, {
      value: node.kernelName,
      remedy: "Register one with tfjs's registerGradient, or keep the operation out of the differentiated function.",
    });
  }
  const engine = engineInternals();
  return engine.tidy(() => {
    const scope = engine.state.activeScope!.id;
    const thunks = node.gradient!(incoming);
    const seen = new Set<number>();
    return names.map((name) => {
      const thunk = thunks[name];
      const input = node.inputs[name];
      if (thunk === undefined) {
        throw new KernelsError(
          'NO_GRADIENT',
          `The operation ${node.kernelName} has no gradient for its input ${name}.`,
          {
            value: node.kernelName,
          },
        );
      }
      const gradient = thunk();
      if (gradient.dtype !== 'float32' || !sameShape(gradient.shape, input.shape)) {
        throw new KernelsError(
          'WRONG_GRADIENT',
          `The gradient of ${node.kernelName} for its input ${name} is ${gradient.dtype} [${gradient.shape.join(', ')}], ` +
            `but the input has shape [${input.shape.join(', ')}].`,
          { value: node.kernelName },
        );
      }
      // A gradient function may hand back a tensor that is not its own (dy itself) or the same one twice: each needs its own handle,
      // because incoming gradients and saved tensors are freed next.
      const owned = (gradient as Tensor & { scopeId?: number }).scopeId === scope && !seen.has(gradient.id);
      seen.add(gradient.id);
      return owned ? gradient : clone(gradient);
    });
  });
}

function accumulate(gradients: Map<number, Tensor>, id: number, gradient: Tensor): void {
  const current = gradients.get(id);
  if (current === undefined) {
    gradients.set(id, gradient);
    return;
  }
  gradients.set(id, add(current, gradient));
  current.dispose();
  gradient.dispose();
}

/**
 * Nodes that lie on a path from a source to an output, and the tensors that depend on a source. Booleans and integers (comparisons,
 * indices) are constants to a gradient: paths end there.
 */
function nodesBetween(
  tape: readonly TapeNode[],
  sources: readonly Tensor[],
  outputs: readonly Tensor[],
): { fromSources: Set<number>; onPath: Set<number> } {
  const fromSources = new Set(sources.map((source) => source.id));
  const reachable = new Set<number>();
  for (const node of tape) {
    if (!Object.values(node.inputs).some((input) => fromSources.has(input.id))) continue;
    for (const output of node.outputs) {
      if (output.dtype !== 'float32') continue;
      reachable.add(node.id);
      fromSources.add(output.id);
    }
  }
  const toOutputs = new Set(outputs.map((output) => output.id));
  const onPath = new Set<number>();
  for (let index = tape.length - 1; index >= 0; index--) {
    const node = tape[index];
    if (!node.outputs.some((output) => toOutputs.has(output.id))) continue;
    for (const input of Object.values(node.inputs)) toOutputs.add(input.id);
    if (reachable.has(node.id)) onPath.add(node.id);
  }
  return { fromSources, onPath };
}

function releaseSaved(node: TapeNode): void {
  if (node.saved === undefined) return;
  for (const tensor of node.saved) tensor.dispose();
  node.saved.length = 0;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}
