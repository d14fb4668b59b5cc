/**
 * A Llama-architecture decoder: grouped-query attention, RoPE, RMSNorm, SwiGLU, tied or untied head. Runs on whatever
 * tfjs backend is active. Holds nothing but its configuration and its variables; every tensor it returns is the
 * caller's to dispose (or tidy).
 */
import * as tf from '@tensorflow/tfjs-core';
import { embedding, groupedQueryAttention, linear, linearCrossEntropy } from '@xgen-small/kernels';
import { loadCheckpoint, type LoadOptions } from '../checkpoint/load-checkpoint.js';
import { saveCheckpoint, type SaveOptions } from '../checkpoint/save-checkpoint.js';
import type { ModelConfig, RopeConfig } from '../config/model-config.js';
import { validateModelConfig } from '../config/validate-model-config.js';
import { ModelError } from '../errors.js';
import { parameterInitializer, type InitializeOptions } from '../parameters/initialize-parameters.js';
import { embeddingName, finalNormName, headName } from '../parameters/parameter-layout.js';
import { ParameterStore } from '../parameters/parameter-store.js';
import {
  blockWeights,
  type BlockWeights,
  decoderHiddenStates,
  decoderInputs,
  type Attention,
  type DecoderInputs,
} from './decoder.js';
import { checkBatch, type PackedBatch } from './packed-batch.js';
import type { Recompute } from './recompute.js';

export interface ForwardOptions {
  /** What the backward pass computes again instead of holding it since the forward pass; default 'none'. */
  recompute?: Recompute;
}

export interface LogProbabilityOptions extends ForwardOptions {
  /**
   * The gradient of the loss with respect to each log-probability, where it is one number known beforehand (−1/N for a mean): lets
   * a GPU compute the head's gradients together with its logits. Another gradient fails, see `linearCrossEntropy`.
   */
  expectedGradient?: number;
}

export class CausalLanguageModel {
  readonly config: ModelConfig;
  private store: ParameterStore | undefined;

  private constructor(config: ModelConfig, store: ParameterStore) {
    this.config = config;
    this.store = store;
  }

  /** A new model with seeded random parameters: the same seed gives the same bytes on every machine. */
  static initialize(config: ModelConfig, options: InitializeOptions): CausalLanguageModel {
    const valid = validateModelConfig(config);
    return new CausalLanguageModel(valid, ParameterStore.create(valid, parameterInitializer(valid, options)));
  }

  /** A Hugging Face folder of a Llama-architecture model. Throws ModelError naming file, tensor and remedy. */
  static async load(folder: string, options: LoadOptions = {}): Promise<CausalLanguageModel> {
    const { config, parameters } = await loadCheckpoint(folder, options);
    return new CausalLanguageModel(config, parameters);
  }

  /**
   * By name, as in Hugging Face files but for the fused `self_attn.qkv_proj.weight` and `mlp.gate_up_proj.weight`.
   * The variables' own `name`s are unique in the process: gradients by variable name map back through this.
   */
  get parameters(): ReadonlyMap<string, tf.Variable> {
    return this.live().variables;
  }

  /** The head's weight [V, D]: the embedding itself where tied. */
  get outputWeight(): tf.Variable {
    return this.live().get(this.config.tieWordEmbeddings ? embeddingName : headName);
  }

  /**
   * config.json, safetensors and `extraFiles`, atomically, as transformers and vLLM load them. Await it before the
   * weights change again.
   */
  async save(folder: string, options: SaveOptions = {}): Promise<void> {
    await saveCheckpoint(folder, this.config, this.parameters, options);
  }

  /** After the final norm: float32 [N, D]. Differentiable. Throws ModelError INVALID_BATCH, INVALID_ARGUMENT (recompute). */
  hiddenStates(batch: PackedBatch, { recompute }: ForwardOptions = {}): tf.Tensor2D {
    const sequenceLength = checkBatch(batch, this.config);
    const { queryHeads, keyValueHeads, headDimension } = this.config;
    const heads = { queryHeads, keyValueHeads, headDimension, scale: 1 / Math.sqrt(headDimension) };
    return tf.tidy(() => {
      const attention: Attention = {
        inputs: () => [tf.tensor1d(batch.cumulativeLengths, 'int32')],
        apply: (qkv, _layer, [cumulativeLengths]) => groupedQueryAttention(qkv, cumulativeLengths, heads),
      };
      return this.forward(decoderInputs(this.config, batch, sequenceLength), attention, recompute);
    });
  }

  /** Logits of all rows of `hidden` [N, D], or of the chosen ones: float32 [rows or N, V]. Differentiable. */
  logits(hidden: tf.Tensor2D, rows?: Int32Array): tf.Tensor2D {
    return tf.tidy(() => {
      // A gather of rows is an embedding look-up, whose gradient is a scatter instead of tfjs's slow segment sum.
      const chosen = rows === undefined ? hidden : embedding(hidden, tf.tensor1d(rows, 'int32'));
      return linear(chosen, this.outputWeight, { float32Output: true });
    });
  }

  /**
   * log p(targets[i] | tokens up to i): float32 [N], 0 where the target is -100. Differentiable; never holds all
   * logits. Throws ModelError INVALID_BATCH.
   */
  logProbabilities(batch: PackedBatch, targets: Int32Array, options: LogProbabilityOptions = {}): tf.Tensor1D {
    this.checkTargets(batch, targets);
    const { expectedGradient } = options;
    return tf.tidy(() => {
      const hidden_ND = this.hiddenStates(batch, options);
      return linearCrossEntropy(hidden_ND, this.outputWeight, tf.tensor1d(targets, 'int32'), { expectedGradient });
    });
  }

  /**
   * The same variables under another RoPE and context: length extension. YaRN without `originalMaximumPositions`
   * starts from this model's context. Each of the models must be disposed.
   */
  withRope(rope: RopeConfig, maximumPositions: number): CausalLanguageModel {
    const scaling =
      rope.scaling?.type === 'yarn'
        ? { originalMaximumPositions: this.config.maximumPositions, ...rope.scaling }
        : rope.scaling;
    const extended = scaling === undefined ? rope : { ...rope, scaling };
    const config = validateModelConfig({ ...this.config, rope: extended, maximumPositions });
    return new CausalLanguageModel(config, this.live().retain());
  }

  /** An independent model of the same values: a frozen reference, the start of a value model. */
  clone(): CausalLanguageModel {
    return new CausalLanguageModel(this.config, ParameterStore.copy(this.live()));
  }

  /** Frees the variables, unless a model made by `withRope` still uses them. */
  dispose(): void {
    this.store?.release();
    this.store = undefined;
  }

  /** @internal the forward pass with attention of the caller's, for generation; call inside a tidy */
  forward(inputs: DecoderInputs, attention: Attention, recompute?: Recompute): tf.Tensor2D {
    return decoderHiddenStates(this.config, this.live(), inputs, attention, recompute);
  }

  /** @internal the decoder's weights as its operations take them */
  get weights(): { table: tf.Variable; blocks: BlockWeights[]; finalNorm: tf.Variable } {
    const store = this.live();
    const blocks = Array.from({ length: this.config.layers }, (_, layer) => blockWeights(store, layer));
    return { table: store.get(embeddingName), blocks, finalNorm: store.get(finalNormName) };
  }

  private live(): ParameterStore {
    if (this.store !== undefined) return this.store;
    throw new ModelError('DISPOSED', 'The model was disposed.', { remedy: 'Keep it until its last use.' });
  }

  private checkTargets({ tokens }: PackedBatch, targets: Int32Array): void {
    if (!(targets instanceof Int32Array) || targets.length !== tokens.length) {
      throw new ModelError('INVALID_BATCH', `There are ${targets.length} targets for ${tokens.length} tokens.`, {
        value: targets.length,
        remedy: 'Pass an Int32Array with a target, or -100, for each token.',
      });
    }
    for (const target of targets) {
      if (target !== -100 && (target < 0 || target >= this.config.vocabularySize)) {
        throw new ModelError('INVALID_BATCH', `A target is ${target}.`, {
          value: target,
          remedy: `Targets are tokens below ${this.config.vocabularySize}, or -100 to ignore a place.`,
        });
      }
    }
  }
}
