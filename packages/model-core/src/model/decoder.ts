/**
 * The decoder's forward pass over flat tokens, with attention left open: training packs documents, generation reads a
 * paged cache. Shapes: N tokens, D width, F feed-forward width, V vocabulary, H = (Hq + 2·Hkv)·hd.
 *
 * Between blocks travel the residual and what the block before adds to it: the addition is fused with the norm that follows, so that
 * block l+1 begins with the sum (or the final norm ends with it). Without a gradient tape a block's intermediates and its inputs are freed
 * when it ends: the peak is one block's activations. With one, what is held is `recompute`'s choice.
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  addRmsNorm,
  type AddRmsNormResult,
  checkpointed,
  embedding,
  linear,
  rmsNorm,
  rope,
  swiglu,
} from '@xgen-small/kernels';
import type { ModelConfig } from '../config/model-config.js';
import { blockParameterNames, embeddingName, finalNormName } from '../parameters/parameter-layout.js';
import type { ParameterStore } from '../parameters/parameter-store.js';
import { ropeFrequencies } from '../rope/rope-frequencies.js';
import { keepFor, recomputeModeOfBlocks, type Recompute, type RecomputeMode } from './recompute.js';

/** How a layer attends: rotated qkv [N, H] → [N, Hq·hd]. `inputs` makes the index tensors that it reads besides. */
export interface Attention {
  inputs(): tf.Tensor[];
  apply(qkv_NH: tf.Tensor2D, layer: number, inputs: tf.Tensor[]): tf.Tensor2D;
}

export interface DecoderInputs {
  /** [N], inside the vocabulary. */
  tokens: Int32Array;
  /** [N] */
  positions: Int32Array;
  /** Largest position plus one, for dynamic RoPE. */
  sequenceLength: number;
  /** What the backward pass computes again; default 'none'. */
  recompute?: Recompute;
}

/** Hidden states after the final norm, [N, D]. Call inside a tidy. */
export function decoderHiddenStates(
  config: ModelConfig,
  parameters: ParameterStore,
  { tokens, positions, sequenceLength, recompute = 'none' }: DecoderInputs,
  attention: Attention,
): tf.Tensor2D {
  const { layers, headDimension } = config;
  const modes = recomputeModeOfBlocks(recompute, layers);
  const frequencies = ropeFrequencies(config.rope, headDimension, config.maximumPositions, sequenceLength);
  const shared = [tf.tensor1d(positions, 'int32'), tf.tensor1d(frequencies.inverseFrequencies), ...attention.inputs()];
  let stream: Stream = [embedding(parameters.get(embeddingName), tf.tensor1d(tokens, 'int32'))];
  modes.forEach((mode, layer) => {
    const given = stream;
    const weights = blockWeights(parameters, layer);
    const block = (): Stream =>
      decoderBlock(config, weights, frequencies.attentionScaling, attention, layer, mode, given, shared);
    stream = mode === 'none' ? tf.tidy(block) : checkpointed(block);
    // What the backward pass reads of them has handles of its own.
    tf.dispose(given);
  });
  return addStream(stream, parameters.get(finalNormName), config.rmsNormEpsilon).normalized;
}

/** The residual [N, D], and what is still to be added to it; before the first block there is nothing. */
type Stream = [residual: tf.Tensor2D, addition?: tf.Tensor2D];

function addStream([residual, addition]: Stream, norm: tf.Variable, epsilon: number): AddRmsNormResult {
  if (addition !== undefined) return addRmsNorm(addition, residual, norm, { epsilon });
  return { normalized: rmsNorm(residual, norm, { epsilon }), sum: residual };
}

interface BlockWeights {
  inputNorm: tf.Variable;
  qkv: tf.Variable;
  attentionOutput: tf.Variable;
  postAttentionNorm: tf.Variable;
  gateUp: tf.Variable;
  down: tf.Variable;
}

function blockWeights(parameters: ParameterStore, layer: number): BlockWeights {
  const names = blockParameterNames(layer);
  return {
    inputNorm: parameters.get(names.inputNorm),
    qkv: parameters.get(names.qkv),
    attentionOutput: parameters.get(names.attentionOutput),
    postAttentionNorm: parameters.get(names.postAttentionNorm),
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
  stream: Stream,
  [positions_N, inverseFrequencies, ...attentionInputs]: tf.Tensor[],
): Stream {
  const rotatedHeads = queryHeads + keyValueHeads;
  const rotation = { rotatedHeads, headDimension, attentionScaling };
  const { normalized: normalized_ND, sum: residual_ND } = addStream(stream, weights.inputNorm, epsilon);
  keepFor(mode, 'residual', residual_ND);
  const qkv_NH = keepFor(
    mode,
    'qkv',
    rope(linear(normalized_ND, weights.qkv), positions_N, inverseFrequencies, rotation),
  );
  const attended_NA = keepFor(mode, 'attended', attention.apply(qkv_NH, layer, attentionInputs));
  const projected_ND = linear(attended_NA, weights.attentionOutput);
  const middle = addRmsNorm(projected_ND, residual_ND, weights.postAttentionNorm, { epsilon });
  keepFor(mode, 'middle', middle.sum);
  const gateUp_NF2 = keepFor(mode, 'gateUp', linear(middle.normalized, weights.gateUp));
  return [middle.sum, linear(swiglu(gateUp_NF2), weights.down)];
}
