/**
 * The tf.Variables of a model, counted by the models that share them (withRope): the last one to be disposed frees
 * them. Variables' own names are unique in the process ("model-3/model.norm.weight"), since tfjs refuses two
 * variables of one name and several models live side by side; the map's keys are the plain parameter names.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ModelConfig } from '../config/model-config.js';
import { parameterLayout, type ParameterLayout } from './parameter-layout.js';

let stores = 0;

export class ParameterStore {
  readonly variables = new Map<string, tf.Variable>();
  private references = 1;
  private readonly prefix = `model-${stores++}`;

  private constructor() {}

  /** Values come one parameter at a time; where one throws, those already made are freed. */
  static create(config: ModelConfig, values: (layout: ParameterLayout) => Float32Array): ParameterStore {
    const store = new ParameterStore();
    try {
      for (const layout of parameterLayout(config)) store.add(layout, values(layout));
      return store;
    } catch (error) {
      store.release();
      throw error;
    }
  }

  static async createAsync(
    config: ModelConfig,
    values: (layout: ParameterLayout) => Promise<Float32Array>,
  ): Promise<ParameterStore> {
    const store = new ParameterStore();
    try {
      for (const layout of parameterLayout(config)) store.add(layout, await values(layout));
      return store;
    } catch (error) {
      store.release();
      throw error;
    }
  }

  /** Variables of the same values in storage of their own. */
  static copy(source: ParameterStore): ParameterStore {
    const store = new ParameterStore();
    // tfjs's clone and assign share storage, which optimizers change in place; a product does not.
    for (const [name, variable] of source.variables) store.addVariable(name, () => tf.mul(variable, 1));
    return store;
  }

  get(name: string): tf.Variable {
    return this.variables.get(name)!;
  }

  retain(): this {
    this.references++;
    return this;
  }

  release(): void {
    if (--this.references > 0) return;
    for (const variable of this.variables.values()) variable.dispose();
    this.variables.clear();
  }

  private add({ name, shape }: ParameterLayout, values: Float32Array): void {
    this.addVariable(name, () => tf.tensor(values, shape, 'float32'));
  }

  private addVariable(name: string, initial: () => tf.Tensor): void {
    tf.tidy(() => {
      this.variables.set(name, tf.variable(initial(), true, `${this.prefix}/${name}`));
    });
  }
}
