/**
 * Gradients of a step's loss over several micro-batches, one forward and backward pass at a time: the memory of one
 * micro-batch plus one set of gradients. The sums are those of one big batch up to rounding, in a fixed order.
 */
import * as tf from '@tensorflow/tfjs-core';
import { valueAndGradients } from '@xgen-small/kernels';

export interface AccumulateOptions {
  parameters: ReadonlyMap<string, tf.Variable>;
  microBatches: number;
  /** What this micro-batch adds to the step's loss. Runs inside a tidy; `tf.keep` what is needed afterwards. */
  loss: (microBatch: number) => tf.Scalar;
  /** Called between micro-batches, so that the caller can let the event loop turn. */
  between?: () => Promise<void>;
}

/** Losses and gradients (by the names in `parameters`) are the caller's to dispose. */
export async function accumulateGradients({
  parameters,
  microBatches,
  loss,
  between,
}: AccumulateOptions): Promise<{ losses: tf.Scalar[]; gradients: Map<string, tf.Tensor> }> {
  const names = [...parameters.keys()];
  const variables = [...parameters.values()];
  const losses: tf.Scalar[] = [];
  let sums: tf.Tensor[] = [];
  try {
    for (let microBatch = 0; microBatch < microBatches; microBatch++) {
      if (microBatch > 0) await between?.();
      const { value, gradients } = valueAndGradients(() => loss(microBatch), variables);
      losses.push(value);
      const added = variables.map(({ name }) => gradients.get(name)!);
      // A backend may round a gradient to bfloat16, but what is added to a float32 stays one: so several are added to zeros.
      if (microBatch === 0 && microBatches > 1) sums = variables.map(({ shape }) => tf.zeros(shape));
      sums = sums.length === 0 ? added : addAndDispose(sums, added);
    }
  } catch (error) {
    tf.dispose([...losses, ...sums]);
    throw error;
  }
  return { losses, gradients: new Map(names.map((name, i) => [name, sums[i]])) };
}

function addAndDispose(sums: readonly tf.Tensor[], added: readonly tf.Tensor[]): tf.Tensor[] {
  return sums.map((sum, i) => {
    const total = tf.add(sum, added[i]);
    sum.dispose();
    added[i].dispose();
    return total;
  });
}
