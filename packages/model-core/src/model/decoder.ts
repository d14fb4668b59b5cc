/**
 * The decoder's forward pass over flat tokens, with attention left open: training packs documents, generation reads a
 * paged cache. Shapes: N tokens, D width, F feed-forward width, V vocabulary, H = (Hq + 2·Hkv)·hd.
 *
 * Between blocks travels the residual stream; both additions of a block happen inside the products before them. Without a gradient tape a
 * block's intermediates and its input are freed when it ends: the peak is one block's activations. With one, what is held is
 * `recompute`'s choice.
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  checkpointed,
  embedding,
  linear,
  residualFeedForward,
  residualRmsNormLinear,
  rmsNorm,
  rope,
} from '@xgen-small/kernels';
import type { ModelConfig } from '../config/model-config.js';
import { blockParameterNames, embeddingName, finalNormName } from '../parameters/parameter-layout.js';
import type { ParameterStore } from '../parameters/parameter-store.js';
import { ropeFrequencies } from '../rope/rope-frequencies.js';
import { keepFor, keeps, recomputeModeOfBlocks, type Recompute, type RecomputeMode } from './recompute.js';

/**
 * How a layer attends: rotated qkv [N, H] → [N, Hq·hd]. `inputs` makes the index tensors that it reads besides. `rotate` stands in for `rope` where
 * the rotated rows also go elsewhere.
 */
export interface Attention {
  inputs(): tf.Tensor[];
  rotate?(
    qkv_NH: tf.Tensor2D,
    positions_N: tf.Tensor,
    inverseFrequencies: tf.Tensor,
    attentionScaling: number,
    layer: number,
  ): tf.Tensor2D;
  apply(qkv_NH: tf.Tensor2D, layer: number, inputs: tf.Tensor[]): tf.Tensor2D;
}

export interface DecoderInputs {
  /** int32 [N], inside the vocabulary. */
  tokens: tf.Tensor1D;
  /** int32 [N] */
  positions: tf.Tensor1D;
  /** float32 [hd / 2] */
  inverseFrequencies: tf.Tensor1D;
  attentionScaling: number;
}

/** A decoder's inputs from arrays; `sequenceLength` is the largest position plus one, for dynamic RoPE. */
export function decoderInputs(
  { rope: settings, headDimension, maximumPositions }: ModelConfig,
  { tokens, positions }: { tokens: Int32Array; positions: Int32Array },
  sequenceLength: number,
): DecoderInputs {
  const { inverseFrequencies, attentionScaling } = ropeFrequencies(
    settings,
    headDimension,
    maximumPositions,
    sequenceLength,
  );
  return {
    tokens: tf.tensor1d(tokens, 'int32'),
    positions: tf.tensor1d(positions, 'int32'),
    inverseFrequencies: tf.tensor1d(inverseFrequencies),
    attentionScaling,
  };
}

/** Hidden states after the final norm, [N, D]. `recompute`: what the backward pass computes again. Call inside a tidy. */
export function decoderHiddenStates(
  config: ModelConfig,
  parameters: ParameterStore,
  { tokens, positions, inverseFrequencies, attentionScaling }: DecoderInputs,
  attention: Attention,
  recompute: Recompute = 'none',
): tf.Tensor2D {
  const modes = recomputeModeOfBlocks(recompute, config.layers);
  const shared = [positions, inverseFrequencies, ...attention.inputs()];
  let stream_ND = embedding(parameters.get(embeddingName), tokens);
  modes.forEach((mode, layer) => {
    const given = stream_ND;
    const weights = blockWeights(parameters, layer);
    const block = (): tf.Tensor2D =>
      decoderBlock(config, weights, attentionScaling, attention, layer, mode, given, shared);
    stream_ND = mode === 'none' ? tf.tidy(block) : checkpointed(block);
    // What the backward pass reads of it has a handle of its own.
    given.dispose();
  });
  return rmsNorm(stream_ND, parameters.get(finalNormName), { epsilon: config.rmsNormEpsilon });
}

export interface BlockWeights {
  attentionNorm: tf.Variable;
  qkv: tf.Variable;
  output: tf.Variable;
  feedForwardNorm: tf.Variable;
  gateUp: tf.Variable;
  down: tf.Variable;
}

export function blockWeights(parameters: ParameterStore, layer: number): BlockWeights {
  const names = blockParameterNames(layer);
  return {
    attentionNorm: parameters.get(names.inputNorm),
    qkv: parameters.get(names.qkv),
    output: parameters.get(names.attentionOutput),
    feedForwardNorm: parameters.get(names.postAttentionNorm),
    gateUp: parameters.get(names.gateUp),
    down: parameters.get(names.down),
  };
}

/** `inputs`: positions, inverse frequencies, …attention inputs. */
function decoderBlock(
  { queryHeads, keyValueHeads, headDimension, rmsNormEpsilon: epsilon }: ModelConfig,
  weights: BlockWeights,
  attentionScaling: number,
  attention: Attention,
  layer: number,
  mode: RecomputeMode,
  stream_ND: tf.Tensor2D,
  [positions_N, inverseFrequencies, ...attentionInputs]: tf.Tensor[],
): tf.Tensor2D {
  const rotation = { rotatedHeads: queryHeads + keyValueHeads, headDimension, attentionScaling };
  const first = residualRmsNormLinear(stream_ND, weights.attentionNorm, weights.qkv, { epsilon });
  const rotated_NH =
    attention.rotate?.(first.product, positions_N, inverseFrequencies, attentionScaling, layer) ??
    rope(first.product, positions_N, inverseFrequencies, rotation);
  const qkv_NH = keepFor(mode, 'qkv', rotated_NH);
  const attended_NA = keepFor(mode, 'attended', attention.apply(qkv_NH, layer, attentionInputs));
  const projected_ND = linear(attended_NA, weights.output, { residual: first.residual });
  const middle_ND = keepFor(mode, 'middle', projected_ND);
  const keepGateUp = keeps(mode, 'gateUp');
  return residualFeedForward(middle_ND, weights.feedForwardNorm, weights.gateUp, weights.down, {
    epsilon,
    keepGateUp,
  });
}
