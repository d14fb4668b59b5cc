/** An independent copy of a model on the same device: the frozen reference, or a value trunk. */
import * as tf from '@tensorflow/tfjs-core';
import { CausalLanguageModel } from '@xgen-small/model-core';

export function cloneModel(model: CausalLanguageModel): CausalLanguageModel {
  const copy = CausalLanguageModel.initialize(model.config, { seed: 0 });
  for (const [name, variable] of copy.parameters) copyInto(variable, model.parameters.get(name)!);
  return copy;
}

/** Gives `target` storage of its own: tfjs's assign and clone only share it, and optimizers write in place. */
function copyInto(target: tf.Variable, source: tf.Tensor): void {
  tf.tidy(() => target.assign(tf.mul(source, 1)));
}
