/**
 * Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): keep a block's inputs, drop what it computed, compute it again in the
 * backward pass.
 *
 * On the tape a checkpointed block is one node. Memory between the passes: its inputs (shared, not copied). Cost: one more forward
 * pass of the block.
 */
import { clone, type Tensor, tidy, Variable, zerosLike } from '@tensorflow/tfjs-core';
import '../gradients/index';
import { KernelsError } from '../kernels-error';
import { engineInternals, isRecording, type TapeNode } from './engine-internals';
import { backpropagate, recordTape, releaseTape } from './walk';

/**
 * `block(...inputs)`, recorded so that only `inputs` are kept for the backward pass.
 *
 * `block` must be a pure function of `inputs` and `variables`: it runs twice. Every variable it reads must be listed, and every other
 * tensor that carries a gradient must be an input; an unlisted trainable variable is an error in the backward pass rather
 * than a silently missing gradient. Outside a differentiated function it simply runs the block. Blocks may nest.
 *
 * @throws KernelsError UNLISTED_VARIABLE (in the backward pass)
 */
export function checkpointed<T extends Tensor | Tensor[]>(
  block: (...inputs: Tensor[]) => T,
  inputs: readonly Tensor[],
  variables: readonly Variable[] = [],
): T {
  if (!isRecording()) return tidy(() => block(...inputs));
  const named: Record<string, Tensor> = {};
  inputs.forEach((input, i) => (named[`input${i}`] = input));
  variables.forEach((variable, i) => (named[`variable${i}`] = variable));

  return engineInternals().runKernelFunc({
    inputs: named,
    forwardFunc: (_backend, save) => {
      const outputs = block(...inputs);
      save([...inputs]);
      // An output that is an input would tie a knot into the tape.
      const known = new Set<Tensor>(Object.values(named));
      const own = (tensor: Tensor): Tensor => (known.has(tensor) ? clone(tensor) : tensor);
      return Array.isArray(outputs) ? outputs.map(own) : own(outputs);
    },
    backwardsFunc: (outputGradients, saved) => {
      const { result, tape } = recordTape(() => block(...saved));
      const unlisted = findUnlistedVariable(tape, variables);
      if (unlisted !== undefined) {
        releaseTape(tape);
        throw new KernelsError(
          'UNLISTED_VARIABLE',
          `A checkpointed block reads the trainable variable ${unlisted.name}, which is not among its variables.`,
          { value: unlisted.name, remedy: 'List it in the third argument of checkpointed, or make it untrainable.' },
        );
      }
      const outputs: Tensor[] = Array.isArray(result) ? result : [result];
      const names = Object.keys(named);
      const everything = [...saved, ...variables];
      // Integer inputs (ids, targets) carry no gradient.
      const sources = everything.filter(({ dtype }) => dtype === 'float32');
      const found = backpropagate(tape, outputs, [outputGradients].flat(), sources);
      for (const output of outputs) if (!saved.includes(output)) output.dispose();
      const gradients = new Map(sources.map((source, i) => [source, found[i]]));
      return Object.fromEntries(
        names.map((name, i) => [name, () => gradients.get(everything[i]) ?? zerosLike(everything[i])]),
      );
    },
  }) as T;
}

function findUnlistedVariable(tape: readonly TapeNode[], variables: readonly Variable[]): Variable | undefined {
  const listed = new Set<Tensor>(variables);
  for (const node of tape) {
    for (const input of Object.values(node.inputs)) {
      if (input instanceof Variable && input.trainable && !listed.has(input)) return input;
    }
  }
  return undefined;
}
