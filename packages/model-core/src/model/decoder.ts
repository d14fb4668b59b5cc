/**
 * The decoder's forward pass over flat tokens, with attention left open: training packs documents, generation reads a
 * paged cache. Shapes: N tokens, D width, F feed-forward width, V vocabulary, H = (Hq + 2·Hkv)·hd.
 *
 * Each block carries (normalized, residual): the norm that follows a block's addition is fused with it, so block l
 * ends with the input norm of block l+1 (or the final norm). Without a gradient tape a block's intermediates are freed
 * when it ends: the peak is one block's activations.
 */
import * as tf from '@tensorflow/tfjs-core';
import { addRmsNorm, checkpointed, embedding, linear, linearSwiglu, rmsNorm, rope } from '@xgen-small/kernels';
import type { ModelConfig } from '../config/model-config.js';
import { blockParameterNames, embeddingName, finalNormName } from '../parameters/parameter-layout.js';
import type { ParameterStore } from '../parameters/parameter-store.js';
import { ropeFrequencies } from '../rope/rope-frequencies.js';

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
  /** [N], inside the vocabulary. */
  tokens: Int32Array;
  /** [N] */
  positions: Int32Array;
  /** Largest position plus one, for dynamic RoPE. */
  sequenceLength: number;
  /** Keep only the blocks' inputs for the backward pass and compute the blocks again there. */
  recomputeBlocks: boolean;
}

/** Hidden states after the final norm, [N, D]. Call inside a tidy. */
export function decoderHiddenStates(
  config: ModelConfig,
  parameters: ParameterStore,
  { tokens, positions, sequenceLength, recomputeBlocks }: DecoderInputs,
  attention: Attention,
): tf.Tensor2D {
  const { layers, headDimension } = config;
  const frequencies = ropeFrequencies(config.rope, headDimension, config.maximumPositions, sequenceLength);
  const epsilon = { epsilon: config.rmsNormEpsilon };
  const embedded_ND = embedding(parameters.get(embeddingName), tf.tensor1d(tokens, 'int32'));
  const constants = (): tf.Tensor[] => [
    tf.tensor1d(positions, 'int32'),
    tf.tensor1d(frequencies.inverseFrequencies),
    ...attention.inputs(),
  ];
  // A recomputed block runs again after this function's tensors are gone, so it makes its constants itself.
  const shared = recomputeBlocks ? [] : constants();
  let stream_ND = [rmsNorm(embedded_ND, parameters.get(blockParameterNames(0).inputNorm), epsilon), embedded_ND];
  for (let layer = 0; layer < layers; layer++) {
    const weights = blockWeights(parameters, layer, layers);
    const block = (normalized_ND: tf.Tensor, residual_ND: tf.Tensor): tf.Tensor2D[] => {
      const inputs = [normalized_ND, residual_ND, ...(recomputeBlocks ? constants() : shared)];
      return decoderBlock(config, weights, frequencies.attentionScaling, attention, layer, inputs);
    };
    const [normalized_ND, residual_ND] = stream_ND;
    stream_ND = recomputeBlocks
      ? checkpointed(block, stream_ND, Object.values(weights))
      : tf.tidy(() => block(normalized_ND, residual_ND));
  }
  return stream_ND[0];
}

interface BlockWeights {
  qkv: tf.Variable;
  attentionOutput: tf.Variable;
  postAttentionNorm: tf.Variable;
  gateUp: tf.Variable;
  down: tf.Variable;
  /** Input norm of the next block, or the final norm. */
  nextNorm: tf.Variable;
}

function blockWeights(parameters: ParameterStore, layer: number, layers: number): BlockWeights {
  const names = blockParameterNames(layer);
  return {
    qkv: parameters.get(names.qkv),
    attentionOutput: parameters.get(names.attentionOutput),
    postAttentionNorm: parameters.get(names.postAttentionNorm),
    gateUp: parameters.get(names.gateUp),
    down: parameters.get(names.down),
    nextNorm: parameters.get(layer + 1 < layers ? blockParameterNames(layer + 1).inputNorm : finalNormName),
  };
}

/** One block: [normalized, residual, positions, inverse frequencies, …attention inputs] → [normalized, residual]. */
function decoderBlock(
  { queryHeads, keyValueHeads, headDimension, rmsNormEpsilon: epsilon }: ModelConfig,
  weights: BlockWeights,
  attentionScaling: number,
  attention: Attention,
  layer: number,
  inputs: tf.Tensor[],
): tf.Tensor2D[] {
  const [normalized_ND, residual_ND, positions_N, inverseFrequencies, ...attentionInputs] = inputs;
  const rotation = { rotatedHeads: queryHeads + keyValueHeads, headDimension, attentionScaling };
  const projected_NH = linear(normalized_ND, weights.qkv);
  const qkv_NH =
    attention.rotate?.(projected_NH, positions_N, inverseFrequencies, attentionScaling, layer) ??
    rope(projected_NH, positions_N, inverseFrequencies, rotation);
  const attended_ND = linear(attention.apply(qkv_NH, layer, attentionInputs), weights.attentionOutput);
  const middle = addRmsNorm(attended_ND, residual_ND, weights.postAttentionNorm, { epsilon });
  const forward_ND = linear(linearSwiglu(middle.normalized, weights.gateUp), weights.down);
  const end = addRmsNorm(forward_ND, middle.sum, weights.nextNorm, { epsilon });
  return [end.normalized, end.sum];
}
