/**
 * One decoding iteration of B rows: each row's newest token in, its next one out.
 *
 * A function of its inputs alone, but for the caches, to which it appends in place: run again on the same inputs it writes and gives the same. It reads
 * no value and launches nothing that depends on one, so it can be captured; a row whose slot and context length are `unusedRow` is left out
 * then. Cost: reads the weights once, whatever B, and each sequence's cached keys and values.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { decoderStep, sampleTokens, type SamplingTensors } from '@xgen-small/kernels';
import type { CausalLanguageModel } from '../model/causal-language-model.js';
import type { PagedCache, PagedRows } from './paged-cache.js';
import type { SampledRows } from './sample.js';

export interface DecodeParameters {
  model: CausalLanguageModel;
  cache: PagedCache;
  /** float32 [hd / 2] */
  inverseFrequencies: tf.Tensor1D;
  attentionScaling: number;
}

export interface DecodeInputs extends PagedRows, SamplingTensors {
  /** int32 [B] */
  ids: tf.Tensor1D;
  /** int32 [B] */
  positions: tf.Tensor1D;
}

/** Call inside a tidy. */
export function decodeStep(parameters: DecodeParameters, inputs: DecodeInputs): SampledRows {
  const logits = decoderLogits(parameters, inputs);
  return { ...sampleTokens(logits, inputs), logits };
}

/** Logits of the next token, float32 [B, V]; appends keys and values to the caches. */
function decoderLogits(
  { model, cache, inverseFrequencies, attentionScaling }: DecodeParameters,
  inputs: DecodeInputs,
): tf.Tensor2D {
  const { config, outputWeight: head } = model;
  const { table, finalNorm, blocks } = model.weights;
  const layers = blocks.map((block, layer) => ({ ...block, ...cache.layers[layer] }));
  const options = { ...cache.layers[0].shape, epsilon: config.rmsNormEpsilon, attentionScaling, float32Output: true };
  const tokens = { table, ids: inputs.ids };
  return decoderStep(tokens, { layers, finalNorm, head, inverseFrequencies }, inputs, options);
}
