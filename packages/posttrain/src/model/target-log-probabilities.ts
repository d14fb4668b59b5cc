/** Differentiable log-probabilities of marked tokens. Legend: N packed tokens, R targets, D width, V vocabulary. */
import * as tf from '@tensorflow/tfjs-core';
import { embedding, linearCrossEntropy } from '@xgen-small/kernels';
import type { CausalLanguageModel, ForwardOptions } from '@xgen-small/model-core';
import type { PackedSequences } from './packed-sequences.js';

/** The hidden states that predict the targets, [R, D]. */
export function targetHiddenStates(
  model: CausalLanguageModel,
  { batch, rows }: PackedSequences,
  options: ForwardOptions = {},
): tf.Tensor2D {
  // A gather of rows is an embedding look-up, whose gradient is a scatter instead of tfjs's slow segment sum.
  return tf.tidy(() => embedding(model.hiddenStates(batch, options), tf.tensor1d(rows, 'int32')));
}

/** log softmax(logits / temperature) at the targets, [R]. */
export function logProbabilitiesOfTargets(
  model: CausalLanguageModel,
  hidden_RD: tf.Tensor2D,
  targets: Int32Array,
  temperature = 1,
): tf.Tensor1D {
  return tf.tidy(() => {
    // The head is linear, so dividing its input divides the logits.
    const scaled_RD = temperature === 1 ? hidden_RD : tf.div<tf.Tensor2D>(hidden_RD, temperature);
    return linearCrossEntropy(scaled_RD, model.outputWeight, tf.tensor1d(targets, 'int32'));
  });
}
