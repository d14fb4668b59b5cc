/** The critic: a value head on the policy's hidden states, or on a trunk of its own. */
import * as tf from '@tensorflow/tfjs-core';
import type { CausalLanguageModel, ForwardOptions } from '@xgen-small/model-core';
import { cloneModel } from '../model/clone-model.js';
import { stopGradient } from '../model/host-loss.js';
import type { PackedSequences } from '../model/packed-sequences.js';
import { targetHiddenStates } from '../model/target-log-probabilities.js';
import { ValueHead } from '../model/value-head.js';

export type ValueTrunk = 'shared' | 'detached' | 'separate';

export class ValueFunction {
  private readonly head: ValueHead;
  private readonly trunk?: CausalLanguageModel;
  /** What the value loss alone trains, by names in checkpoints. */
  readonly parameters: ReadonlyMap<string, tf.Variable>;

  constructor(
    model: CausalLanguageModel,
    private readonly kind: ValueTrunk,
  ) {
    this.head = new ValueHead(model.config.hiddenSize);
    const parameters = new Map(this.head.parameters);
    if (kind === 'separate') {
      this.trunk = cloneModel(model);
      for (const [name, variable] of this.trunk.parameters) {
        // An untied output head is never read for values and would have no gradient.
        if (this.trunk.config.tieWordEmbeddings || variable !== this.trunk.outputWeight) {
          parameters.set(`value_trunk.${name}`, variable);
        }
      }
    }
    this.parameters = parameters;
  }

  /** Values of the states before the target tokens, [R]; `hidden` are the policy's [R, D]. Differentiable. */
  values(packed: PackedSequences, hidden_RD: tf.Tensor2D, options: ForwardOptions = {}): tf.Tensor1D {
    return tf.tidy(() => {
      if (this.trunk !== undefined) return this.head.values(targetHiddenStates(this.trunk, packed, options));
      return this.head.values(this.kind === 'detached' ? stopGradient(hidden_RD) : hidden_RD);
    });
  }

  dispose(): void {
    this.head.dispose();
    this.trunk?.dispose();
  }
}
