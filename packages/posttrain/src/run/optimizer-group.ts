/**
 * Parameters with their optimizer and its moments, clipped by their own global norm: a model's, or a value head's. AdamW
 * keeps two float32 numbers beside each parameter; updates are in place.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { globalNormScale } from '@xgen-small/kernels';
import { optimizerVariables, type Optimizer, type OptimizerState } from '@xgen-small/pretrain';

export class OptimizerGroup {
  private state: OptimizerState;

  constructor(
    /** Prefix of the moments' names in checkpoints. */
    private readonly name: string,
    readonly parameters: ReadonlyMap<string, tf.Variable>,
    private readonly optimizer: Optimizer,
    private readonly maximumGradientNorm: number,
  ) {
    this.state = this.optimizer.initialize(parameters);
  }

  /** Updates applied; a restored group is told. */
  get updates(): number {
    return this.state.step;
  }
  set updates(updates: number) {
    this.state = { ...this.state, step: updates };
  }

  /** What a checkpoint holds beside the parameters. */
  moments(): Map<string, tf.Variable> {
    const moments = optimizerVariables(this.state);
    return new Map([...moments].map(([name, moment]) => [`${this.name}.${name}`, moment]));
  }

  /** One update by those of `gradients` (by parameter name, the caller's to dispose) that are ours; returns their norm before clipping. */
  apply(gradients: ReadonlyMap<string, tf.Tensor>, learningRate: number): number {
    const ours = new Map([...this.parameters.keys()].map((name) => [name, gradients.get(name)!]));
    const { norm, scale } = globalNormScale([...ours.values()], this.maximumGradientNorm);
    const value = norm.dataSync()[0];
    // A NaN or infinite gradient must not reach the parameters: the caller stops with the last checkpoint intact.
    if (Number.isFinite(value)) {
      this.state = this.optimizer.update(this.state, this.parameters, ours, { learningRate, gradientScale: scale });
    }
    norm.dispose();
    scale.dispose();
    return value;
  }

  dispose(): void {
    this.optimizer.dispose(this.state);
  }
}
